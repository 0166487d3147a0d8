//! Mails over SMTP. Each one has a connection of its own: they are few, and a connection that was
//! kept is often found dead.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret as _;
use terse_core::mail::{Mail, MailError, Mailer, Sending};
use terse_core::model::Entropy;
use tokio::time::timeout;

use crate::mailer::message::message;
use crate::mailer::{Encryption, SmtpServer};

const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Less than the minute after which the queue gives up.
const PATIENCE: Duration = Duration::from_secs(45);
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Smtp {
    host: String,
    port: u16,
    encryption: Encryption,
    tls: TlsParameters,
    credentials: Option<Credentials>,
    hello: ClientId,
    from: Mailbox,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Smtp {
    pub(super) fn new(
        server: &SmtpServer,
        from: Mailbox,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let credentials = server.credentials.as_ref().map(|(user, password)| {
            Credentials::new(user.clone(), password.expose_secret().to_owned())
        });
        Ok(Self {
            host: server.host.clone(),
            port: server.port,
            encryption: server.encryption,
            tls: TlsParameters::new_rustls(server.host.clone())?,
            credentials,
            hello: ClientId::Domain(from.email.domain().to_owned()),
            from,
            entropy,
        })
    }

    async fn hand_over(&self, mail: &Mail) -> Result<(), MailError> {
        let message = message(mail, &self.from, &*self.entropy)?;
        let delivery = async {
            let mut connection = self.connect().await?;
            let sent = connection
                .send(message.envelope(), &message.formatted())
                .await;
            Ok((connection, sent.map_err(|error| told("sending", &error))?))
        };
        let (mut connection, _) = timeout(PATIENCE, delivery)
            .await
            .map_err(|_| MailError::new("the mail server took too long"))??;
        // The mail is the server's from here on, however it says goodbye.
        let _ = timeout(FAREWELL_PATIENCE, connection.abort()).await;
        Ok(())
    }

    /// A connection that is as encrypted and signed in as it has to be.
    async fn connect(&self) -> Result<AsyncSmtpConnection, MailError> {
        let immediate = self.encryption == Encryption::Immediate;
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            (self.host.as_str(), self.port),
            Some(CONNECT_PATIENCE),
            &self.hello,
            immediate.then(|| self.tls.clone()),
            None,
        )
        .await
        .map_err(|error| told("connecting", &error))?;
        if self.encryption == Encryption::Starttls {
            connection
                .starttls(self.tls.clone(), &self.hello)
                .await
                .map_err(|error| told("encrypting", &error))?;
        }
        if let Some(credentials) = &self.credentials {
            connection
                .auth(DEFAULT_MECHANISMS, credentials)
                .await
                .map_err(|error| told("signing in", &error))?;
        }
        Ok(connection)
    }
}

impl Mailer for Smtp {
    fn send<'a>(&'a self, mail: &'a Mail) -> Sending<'a> {
        Box::pin(self.hand_over(mail))
    }
}

/// What went wrong, without the words of the server: it may repeat a link, or the password.
fn told(step: &str, error: &Error) -> MailError {
    if let Some(code) = error.status() {
        return MailError::new(format!("{step}: the mail server refused it ({code})"));
    }
    if error.is_response() {
        return MailError::new(format!("{step}: the mail server's answer is unreadable"));
    }
    MailError::new(format!("{step}: {error}"))
}
