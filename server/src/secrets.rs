//! The signing secret: configured, or generated once into the data directory.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use terse_core::model::{Entropy, random_bytes};

use crate::config::Config;

/// Makes a directory that only its owner can enter.
pub fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// The secret that signs access tokens.
pub fn jwt_secret(config: &Config, entropy: &dyn Entropy) -> anyhow::Result<SecretString> {
    if let Some(secret) = &config.jwt_secret {
        return Ok(secret.clone());
    }
    if config.database_url.is_some() {
        bail!(
            "jwt_secret: must be set with PostgreSQL, because every node needs the same; make one with: openssl rand -base64 48"
        );
    }
    let dir = config.data_dir.join("secrets");
    private_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join("jwt");
    match generate(&path, entropy) {
        Ok(secret) => Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(&path),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

fn generate(path: &Path, entropy: &dyn Entropy) -> io::Result<SecretString> {
    let text = URL_SAFE_NO_PAD.encode(random_bytes::<32>(entropy));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(SecretString::from(text))
}

fn read(path: &Path) -> anyhow::Result<SecretString> {
    let shown = path.display();
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{shown} can be read by others; run: chmod 600 {shown}");
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    Ok(SecretString::from(text.trim()))
}
