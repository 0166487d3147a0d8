//! The data directory, and the signing secret: configured, or generated once into it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use terse_core::model::{Entropy, random_bytes};

use crate::config::Config;

/// Makes the data directory, which only its owner can enter.
pub fn data_dir(path: &Path) -> anyhow::Result<()> {
    const STICKY: u32 = 0o1000;
    let shown = path.display();
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & STICKY != 0) {
        bail!("data_dir: {shown} is a directory that everybody shares; choose one inside it");
    }
    private_dir(path).with_context(|| format!("cannot make the data directory {shown}"))
}

/// Makes a directory that only its owner can enter.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
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

/// The file gets its name when it is complete, and only if nobody else made one: whoever is killed on
/// the way leaves no half of a secret, and of two that start at once both have the same.
fn generate(path: &Path, entropy: &dyn Entropy) -> io::Result<SecretString> {
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let text = URL_SAFE_NO_PAD.encode(random_bytes::<32>(entropy));
    let unfinished = path.with_extension("new");
    let _ = fs::remove_file(&unfinished);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let named = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    named?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
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
