//! Who is signed in where: one file in the platform's configuration directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;

const FILE: &str = "profile.json";

/// A session at a server. Holds secrets: no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// Without a slash at its end.
    pub(crate) url: String,
    pub(crate) email: String,
    pub(crate) access_token: String,
    /// Good for one refresh.
    pub(crate) refresh_token: String,
}

/// The directory of the profile.
pub(crate) struct ProfileDir(PathBuf);

impl ProfileDir {
    /// `TERSE_CONFIG_DIR`, else the platform's directory for this program.
    pub(crate) fn find() -> Result<Self, Error> {
        if let Some(dir) = std::env::var_os("TERSE_CONFIG_DIR").filter(|dir| !dir.is_empty()) {
            return Ok(Self(dir.into()));
        }
        directories::ProjectDirs::from("", "", "terse")
            .map(|dirs| Self(dirs.config_dir().to_owned()))
            .ok_or_else(|| Error::Usage("no home directory; set TERSE_CONFIG_DIR".to_owned()))
    }

    /// The stored profile, `None` when nobody is signed in.
    pub(crate) fn load(&self) -> Result<Option<Profile>, Error> {
        let path = self.0.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { path, source }),
        };
        let profile = serde_json::from_slice(&text).map_err(|error| Error::File {
            path,
            source: error.into(),
        })?;
        Ok(Some(profile))
    }

    /// Replaces the profile in one step: a crash leaves the old one or the new one.
    pub(crate) fn store(&self, profile: &Profile) -> Result<(), Error> {
        let path = self.0.join(FILE);
        self.replace(&path, profile)
            .map_err(|source| Error::File { path, source })
    }

    fn replace(&self, path: &Path, profile: &Profile) -> io::Result<()> {
        self.create()?;
        let part = self.0.join(format!(".{FILE}.{}", std::process::id()));
        // Left behind by a process of the same number that was killed.
        if let Err(error) = fs::remove_file(&part)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&part)?;
        file.write_all(&serde_json::to_vec_pretty(profile)?)?;
        file.sync_all()?;
        fs::rename(&part, path)
    }

    /// Forgets the profile.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let path = self.0.join(FILE);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::File { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Waits until no other process of this user refreshes the session.
    ///
    /// A refresh token is good once, and a second use of it ends the session. Dropping the file lets the next one go.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let path = self.0.join("profile.lock");
        let lock = || {
            self.create()?;
            let file = private(OpenOptions::new().write(true).create(true)).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|source| Error::File {
            path: path.clone(),
            source,
        })
    }

    fn create(&self) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.0)
    }
}

/// Files that only their owner reads; elsewhere than on Unix the directory's own rules do that.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
