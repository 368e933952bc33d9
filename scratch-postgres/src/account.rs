use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::Error;

/// Who runs the server: the current user, or one without privileges if that is root.
#[derive(Debug)]
pub(crate) struct Account {
    stepped_down: Option<User>,
}

#[derive(Debug)]
struct User {
    name: &'static str,
    uid: u32,
    gid: u32,
}

impl Account {
    pub(crate) fn for_server() -> Result<Account, Error> {
        if id(&["-u"])? != Some(0) {
            return Ok(Account { stepped_down: None });
        }
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id(&["-u", name])?, id(&["-g", name])?) {
                let user = User { name, uid, gid };
                return Ok(Account {
                    stepped_down: Some(user),
                });
            }
        }
        Err(Error::NoAccount)
    }

    /// A command that this account runs. Its working folder is one that every account can enter.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env("LC_ALL", "C");
        if let Some(user) = &self.stepped_down {
            // Setting the user also drops the supplementary groups of root.
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// For messages: ` as <user>`, or nothing.
    pub(crate) fn suffix(&self) -> String {
        match &self.stepped_down {
            Some(user) => format!(" as `{}`", user.name),
            None => String::new(),
        }
    }
}

/// Asks `id`, which knows users from every source and needs no unsafe code. `None`: no such user.
fn id(args: &[&str]) -> Result<Option<u32>, Error> {
    let output = Command::new("id")
        .args(args)
        .stderr(Stdio::null())
        .output()
        .map_err(|source| Error::Spawn {
            program: "id".to_owned(),
            account: String::new(),
            source,
        })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}
