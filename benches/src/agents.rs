//! User agents of people's browsers.

/// Distinct user agents in the load.
pub const AGENTS: usize = 200;

const WINDOWS: &str = "Windows NT 10.0; Win64; x64";
const MAC: &str = "Macintosh; Intel Mac OS X 10_15_7";
const LINUX: &str = "X11; Linux x86_64";
const CHROME_OS: &str = "X11; CrOS x86_64 14541.0.0";
const ANDROID: &str = "Linux; Android 10; K";
const NEWEST_CHROME: u16 = 142;
const NEWEST_FIREFOX: u16 = 145;
const SAFARI: [&str; 10] = [
    "17.0", "17.1", "17.2", "17.3", "17.4", "17.5", "17.6", "18.0", "18.1", "18.2",
];

/// [`AGENTS`] user agents: Chrome, Edge, Firefox and Safari in current and older versions, on
/// Windows, macOS, Linux, Chromebooks, Android and iOS.
pub fn human_agents() -> Vec<String> {
    let mut agents = Vec::with_capacity(AGENTS);
    for age in 0..18 {
        for platform in [WINDOWS, MAC, LINUX, CHROME_OS] {
            agents.push(chrome(platform, NEWEST_CHROME - age, ""));
        }
        agents.push(chrome(ANDROID, NEWEST_CHROME - age, " Mobile"));
        agents.push(edge(WINDOWS, NEWEST_CHROME - age));
        agents.push(edge(MAC, NEWEST_CHROME - age));
        for platform in [
            "Windows NT 10.0; Win64; x64",
            "Macintosh; Intel Mac OS X 10.15",
            "X11; Linux x86_64",
        ] {
            agents.push(firefox(platform, NEWEST_FIREFOX - age));
        }
    }
    for version in SAFARI {
        agents.push(safari(version));
        agents.push(safari_on_iphone(version));
    }
    agents.truncate(AGENTS);
    agents
}

fn chrome(platform: &str, version: u16, mobile: &str) -> String {
    format!(
        "Mozilla/5.0 ({platform}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0{mobile} Safari/537.36"
    )
}

fn edge(platform: &str, version: u16) -> String {
    format!("{} Edg/{version}.0.0.0", chrome(platform, version, ""))
}

fn firefox(platform: &str, version: u16) -> String {
    format!("Mozilla/5.0 ({platform}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0")
}

fn safari(version: &str) -> String {
    format!(
        "Mozilla/5.0 ({MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{version} Safari/605.1.15"
    )
}

fn safari_on_iphone(version: &str) -> String {
    let os = version.replace('.', "_");
    format!(
        "Mozilla/5.0 (iPhone; CPU iPhone OS {os} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{version} Mobile/15E148 Safari/604.1"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_user_agents_differ() {
        let agents: HashSet<_> = human_agents().into_iter().collect();
        assert_eq!(agents.len(), AGENTS);
    }
}
