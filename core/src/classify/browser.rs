//! Which browser a person's user agent names, and its major version.

use woothee::parser::WootheeResult;

/// A browser, or the app that shows pages in a browser of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Browser {
    /// Empty: unknown.
    pub(super) name: &'static str,
    pub(super) version: Option<u16>,
}

impl Browser {
    /// Both as one text, as in `Firefox 140`; empty when one of them is unknown.
    pub(super) fn with_version(self) -> String {
        match self.version {
            Some(version) if !self.name.is_empty() => format!("{} {version}", self.name),
            _ => String::new(),
        }
    }
}

/// What a browser writes into its user agent, in lower case: its mark, its name, and what its version
/// follows. Who calls themselves Chrome or Safari as well comes before those.
const BROWSERS: &[(&str, &str, &str)] = &[
    ("messengerforios", "Messenger", "fbav/"),
    ("fb_iab/orca-android", "Messenger", "fbav/"),
    ("instagram ", "Instagram", "instagram "),
    ("barcelona ", "Threads", "barcelona "),
    ("fban/", "Facebook", "fbav/"),
    ("fbav/", "Facebook", "fbav/"),
    ("fb_iab/", "Facebook", "fbav/"),
    ("musical_ly", "TikTok", "app_version/"),
    ("bytedancewebview", "TikTok", "app_version/"),
    ("trill_", "TikTok", "app_version/"),
    ("micromessenger/", "WeChat", "micromessenger/"),
    (" line/", "LINE", " line/"),
    ("kakaotalk", "KakaoTalk", "kakaotalk "),
    ("naver(inapp", "Naver", "naver(inapp; search; "),
    ("snapchat/", "Snapchat", "snapchat/"),
    ("pinterest", "Pinterest", "pinterest/"),
    ("[linkedinapp]", "LinkedIn", "[linkedinapp]/"),
    ("twitter for ", "X", "twitter for iphone/"),
    ("twitterandroid", "X", "twitterandroid/"),
    ("gsa/", "Google", "gsa/"),
    ("edg/", "Edge", "edg/"),
    ("edge/", "Edge", "edge/"),
    ("edga/", "Edge", "edga/"),
    ("edgios/", "Edge", "edgios/"),
    ("opr/", "Opera", "opr/"),
    ("opios/", "Opera", "opios/"),
    ("opt/", "Opera", "opt/"),
    ("opx/", "Opera", "opx/"),
    ("opera mini/", "Opera", "opera mini/"),
    ("opera", "Opera", "version/"),
    ("samsungbrowser/", "Samsung Internet", "samsungbrowser/"),
    ("vivaldi/", "Vivaldi", "vivaldi/"),
    ("yabrowser/", "Yandex Browser", "yabrowser/"),
    ("ucbrowser/", "UC Browser", "ucbrowser/"),
    ("duckduckgo/", "DuckDuckGo", "duckduckgo/"),
    ("ddg/", "DuckDuckGo", "ddg/"),
    ("brave/", "Brave", "brave/"),
    ("whale/", "Whale", "whale/"),
    ("silk/", "Silk", "silk/"),
    ("miuibrowser/", "MIUI Browser", "miuibrowser/"),
    ("huaweibrowser/", "Huawei Browser", "huaweibrowser/"),
    ("nintendobrowser/", "Nintendo Browser", "nintendobrowser/"),
    ("fxios/", "Firefox", "fxios/"),
    ("focus/", "Firefox", "focus/"),
    ("crios/", "Chrome", "crios/"),
    ("firefox/", "Firefox", "firefox/"),
    ("trident/", "Internet Explorer", "rv:"),
    ("msie ", "Internet Explorer", "msie "),
    ("chromium/", "Chrome", "chromium/"),
    ("chrome/", "Chrome", "chrome/"),
    ("safari/", "Safari", "version/"),
];

/// The browser of a person's user agent, given in lower case.
pub(super) fn browser(lower: &str, parsed: Option<&WootheeResult<'_>>) -> Browser {
    // Before Android had Chrome, and on televisions that have neither it nor Safari.
    if lower.contains("tizen") && !lower.contains("chrome/") && !lower.contains("samsungbrowser/") {
        return Browser {
            name: "Samsung Internet",
            version: None,
        };
    }
    if let Some((_, name, before)) = BROWSERS.iter().find(|(mark, ..)| lower.contains(mark)) {
        return Browser {
            name,
            version: version_after(lower, before),
        };
    }
    // An app's own web view on iOS has no `Safari/`.
    let name =
        if lower.contains("applewebkit") && (lower.contains("iphone") || lower.contains("ipad")) {
            "Safari"
        } else {
            parsed.map_or("", |agent| name_of_library(agent.name))
        };
    Browser {
        name,
        version: None,
    }
}

fn name_of_library(name: &str) -> &'static str {
    const KNOWN: [&str; 6] = [
        "Chrome",
        "Firefox",
        "Safari",
        "Edge",
        "Opera",
        "Internet Explorer",
    ];
    KNOWN.into_iter().find(|known| *known == name).unwrap_or("")
}

/// The whole number that follows `before`. One of more than four digits is no version but a build.
fn version_after(lower: &str, before: &str) -> Option<u16> {
    let (_, rest) = lower.split_once(before)?;
    let end = rest
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(rest.len());
    if end > 4 {
        return None;
    }
    rest[..end].parse().ok().filter(|version| *version > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_whole_number_of_up_to_four_digits() {
        for (text, version) in [
            ("firefox/140.0", Some(140)),
            ("firefox/9", Some(9)),
            ("firefox/1234", Some(1_234)),
            ("firefox/12345", None),
            ("firefox/99999999999999999999", None),
            ("firefox/0.9", None),
            ("firefox/x", None),
            ("firefox/", None),
            ("chrome/1", None),
        ] {
            assert_eq!(version_after(text, "firefox/"), version, "{text}");
        }
    }
}
