//! What mails say: each letter is written once and rendered as text and as HTML.

use std::fmt::Write as _;

use crate::mail::Mail;
use crate::model::{Timestamp, check_email};
use crate::site::Site;

const MAX_SHOWN_CHARS: usize = 60;
const MAX_COLUMNS: usize = 76;

/// A mail's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    subject: String,
    before: Vec<String>,
    button: Option<Button>,
    after: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Button {
    label: &'static str,
    url: String,
}

impl Letter {
    fn new<const N: usize>(subject: String, paragraphs: [String; N]) -> Self {
        Self {
            subject,
            before: paragraphs.into(),
            button: None,
            after: Vec::new(),
        }
    }

    fn button<const N: usize>(
        mut self,
        label: &'static str,
        url: String,
        after: [&str; N],
    ) -> Self {
        self.button = Some(Button { label, url });
        self.after = after.map(str::to_owned).into();
        self
    }

    // No name of whoever registered: a stranger could send words of their own to any address.
    pub(super) fn verify_address(site: &Site, token: &str) -> Self {
        Self::new(
            format!("Confirm your e-mail address for {}", site.host),
            [
                format!(
                    "somebody, hopefully you, registered at {} with this e-mail address.",
                    site.origin()
                ),
                "To make the account, open this page and press the button there:".to_owned(),
            ],
        )
        .button(
            "Confirm this address",
            link(site, "verify", token),
            [
                "The link works once, for 24 hours.",
                "If it was not you, there is nothing to do: without this step no account is made.",
            ],
        )
    }

    pub(super) fn account_exists(site: &Site) -> Self {
        Self::new(
            format!("You already have an account at {}", site.host),
            [
                format!(
                    "somebody, hopefully you, tried to register at {} with this e-mail address. It \
                     belongs to an account already, so nothing was changed.",
                    site.origin()
                ),
                "Sign in with your password. If you have forgotten it, ask for a new one where you \
                 sign in."
                    .to_owned(),
                "If it was not you, there is nothing to do.".to_owned(),
            ],
        )
    }

    pub(super) fn reset_password(site: &Site, token: &str) -> Self {
        Self::new(
            format!("Choose a new password for {}", site.host),
            [
                format!(
                    "somebody, hopefully you, forgot the password of your account at {}.",
                    site.origin()
                ),
                "To choose a new one, open this page:".to_owned(),
            ],
        )
        .button(
            "Choose a new password",
            link(site, "reset", token),
            [
                "The link works once, for 30 minutes. A newer mail makes it worthless.",
                "If it was not you, there is nothing to do: your password stays as it is.",
            ],
        )
    }

    pub(super) fn no_account(site: &Site) -> Self {
        Self::new(
            format!("There is no account for you at {}", site.host),
            [
                format!(
                    "somebody, hopefully you, asked at {} for a new password with this e-mail \
                     address. No account belongs to it.",
                    site.origin()
                ),
                "If it was you, you may have registered with another address.".to_owned(),
                "If it was not you, there is nothing to do.".to_owned(),
            ],
        )
    }

    pub(super) fn password_changed(site: &Site, at: Timestamp) -> Self {
        Self::new(
            format!("Your password for {} was changed", site.host),
            [
                format!(
                    "the password of your account at {} was changed on {}.",
                    site.origin(),
                    minute(at)
                ),
                "If it was you, there is nothing to do.".to_owned(),
                "If it was not you, somebody else has been in your account: ask for a new password \
                 where you sign in. That also ends every session."
                    .to_owned(),
            ],
        )
    }

    pub(super) fn session_copied(site: &Site, at: Timestamp) -> Self {
        Self::new(
            format!("A session of yours at {} was ended", site.host),
            [
                format!(
                    "on {} a used sign-in was presented again for your account at {}. Somebody may \
                     have copied it, so that session was ended.",
                    minute(at),
                    site.origin()
                ),
                "Sign in again. If you cannot explain it, change your password too: that ends \
                 every other session."
                    .to_owned(),
            ],
        )
    }

    pub(super) fn invitation(
        site: &Site,
        token: &str,
        workspace: &str,
        inviter: Option<&str>,
    ) -> Self {
        let workspace = harmless(workspace).map_or_else(
            || "a workspace".to_owned(),
            |name| format!("the workspace \"{name}\""),
        );
        let inviter = inviter.unwrap_or("Somebody");
        Self::new(
            format!("You are invited to {}", site.host),
            [
                format!(
                    "{inviter} invites you to {workspace} at {}, where short links are made.",
                    site.origin()
                ),
                "To join, open this page and press the button there:".to_owned(),
            ],
        )
        .button(
            "See the invitation",
            link(site, "invite", token),
            [
                "The link works once, for 7 days, and only for this e-mail address.",
                "If you do not want to join, there is nothing to do.",
            ],
        )
    }

    /// The mail to this address.
    pub(super) fn to(self, address: String, site: &Site, written_at: Timestamp) -> Mail {
        Mail {
            to: address,
            text: self.text(site),
            html: self.html(site),
            subject: self.subject,
            written_at,
        }
    }

    fn text(&self, site: &Site) -> String {
        let mut text = String::from("Hello,\n\n");
        let button = self.button.iter().map(|button| &button.url);
        for paragraph in self.before.iter().chain(button).chain(&self.after) {
            push_wrapped(&mut text, paragraph);
            text.push_str("\n\n");
        }
        let _ = writeln!(text, "-- \n{}", site.origin());
        text
    }

    fn html(&self, site: &Site) -> String {
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title></head>\n\
             <body style=\"font-family:sans-serif;line-height:1.5;max-width:36em\">\n<p>Hello,</p>\n",
            escaped(&self.subject)
        );
        push_paragraphs(&mut html, &self.before);
        if let Some(button) = &self.button {
            let url = escaped(&button.url);
            let _ = write!(
                html,
                "<p><a href=\"{url}\" style=\"display:inline-block;padding:.6em 1em;\
                 border-radius:.4em;background:#1f4fd8;color:#fff;text-decoration:none\">{}</a></p>\n\
                 <p style=\"font-size:small;word-break:break-all\">{url}</p>\n",
                escaped(button.label)
            );
        }
        push_paragraphs(&mut html, &self.after);
        let _ = write!(
            html,
            "<p style=\"color:#666;font-size:small\">{}</p>\n</body></html>\n",
            escaped(site.origin())
        );
        html
    }
}

fn push_paragraphs(html: &mut String, paragraphs: &[String]) {
    for paragraph in paragraphs {
        let _ = writeln!(html, "<p>{}</p>", escaped(paragraph));
    }
}

fn push_wrapped(text: &mut String, paragraph: &str) {
    let mut column = 0;
    for word in paragraph.split(' ') {
        let chars = word.chars().count();
        if column > 0 && column + 1 + chars > MAX_COLUMNS {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += chars;
    }
}

/// Links lead to the configured address, whatever host a request named.
fn link(site: &Site, page: &str, token: &str) -> String {
    format!("{}/{page}?token={token}", site.origin())
}

/// As in `2026-03-15 at 12:00 UTC`.
fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, "00:00"));
    format!("{day} at {} UTC", time.get(..5).unwrap_or(time))
}

/// A name that somebody else chose, unless mail programs would make a link of it.
fn harmless(name: &str) -> Option<String> {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let linked = name.contains(['/', '\\', ':'])
        || (name.contains('.')
            && check_email(&name).is_err()
            && name.find('.') != Some(name.len() - 1));
    let shown = !linked && !name.is_empty() && name.chars().count() <= MAX_SHOWN_CHARS;
    shown.then_some(name)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site::parse("https://go.example").unwrap()
    }

    fn mail(letter: Letter) -> Mail {
        letter.to("ada@example.com".to_owned(), &site(), Timestamp::MIN)
    }

    #[test]
    fn text_and_html_carry_the_same_link_to_the_configured_address() {
        for (letter, url) in [
            (
                Letter::verify_address(&site(), "T0k-en_"),
                "https://go.example/verify?token=T0k-en_",
            ),
            (
                Letter::reset_password(&site(), "T0k-en_"),
                "https://go.example/reset?token=T0k-en_",
            ),
            (
                Letter::invitation(&site(), "T0k-en_", "Sales", Some("bob@example.com")),
                "https://go.example/invite?token=T0k-en_",
            ),
        ] {
            let mail = mail(letter);
            assert!(mail.text.contains(&format!("\n{url}\n")), "{}", mail.text);
            assert!(
                mail.html.contains(&format!("href=\"{url}\"")),
                "{}",
                mail.html
            );
            assert!(!format!("{mail:?}").contains("T0k-en_"));
        }
    }

    #[test]
    fn mails_say_what_happened_and_when() {
        let noon = Timestamp::parse("at", "2026-03-15T12:34:56Z").unwrap();
        let changed = mail(Letter::password_changed(&site(), noon));
        assert!(
            changed
                .html
                .contains("was changed on 2026-03-15 at 12:34 UTC.")
        );
        assert!(changed.text.lines().all(|line| line.len() <= 76));
        assert_eq!(changed.subject, "Your password for go.example was changed");
        assert!(
            mail(Letter::session_copied(&site(), noon))
                .html
                .contains("12:34 UTC")
        );
        assert!(
            mail(Letter::no_account(&site()))
                .html
                .contains("No account belongs to it")
        );
        assert!(
            mail(Letter::account_exists(&site()))
                .html
                .contains("belongs to an account already")
        );
    }

    #[test]
    fn what_a_stranger_chose_becomes_neither_markup_nor_a_link() {
        let invited = |workspace: &str| {
            let inviter = Some("o'brien&co@example.com");
            mail(Letter::invitation(&site(), "t", workspace, inviter))
        };
        let bold = invited("<b>Sales</b> & \"Co\"").html;
        assert!(!bold.contains("<b>"), "{bold}");
        let bold = invited("<b> & Co").html;
        assert!(
            bold.contains("&lt;b&gt; &amp; Co") && bold.contains("o&#39;brien&amp;co"),
            "{bold}"
        );
        for lure in [
            "Win at evil.example",
            "https://evil.example",
            "a/b",
            "Claim it at evil.example @once",
            &"x".repeat(61),
        ] {
            let mail = invited(lure);
            assert!(mail.html.contains("to a workspace at"), "{}", mail.html);
            assert!(!mail.text.contains(lure) && !mail.html.contains(lure));
        }
        assert!(
            invited("ada@example.com")
                .html
                .contains("the workspace &quot;ada@example.com&quot;")
        );
    }
}
