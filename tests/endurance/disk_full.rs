//! A bulk write for which the log's disk has no room.

use std::path::{Path, PathBuf};
use std::process::Command;

use diesel::prelude::*;
use scratch_postgres::ScratchPostgres;
use threadline_tests::{TestDb, cluster, execute, skip, value};

use crate::alone;
use crate::bulk::{BEFORE, BULK, Bulk, write_as};

/// A file system in memory that is mounted over a folder, as root may.
#[derive(Debug)]
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        let folder = folder.to_owned();
        let options = ["-t", "tmpfs", "-o", "size=12m,mode=0777", "threadline-test"];
        mount(&options, &folder).then_some(Self { folder })
    }

    fn enlarge(&self) {
        assert!(mount(&["-o", "remount,size=256m"], &self.folder));
    }
}

fn mount(options: &[&str], folder: &Path) -> bool {
    let output = Command::new("mount").args(options).arg(folder).output();
    output.is_ok_and(|output| output.status.success())
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because the server has files open there. A drop has nobody to tell.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

fn folder(postgres: &ScratchPostgres, name: &str) -> PathBuf {
    let folder = postgres.dir().join(name);
    let made = postgres.command("mkdir").arg(&folder).status().unwrap();
    assert!(made.success(), "{}", folder.display());
    folder
}

/// Fails when the error is swallowed, such as by `EXCEPTION WHEN OTHERS` around the insert in `threadline_record_v1`:
/// then the write succeeds, and the log lacks it.
#[test]
fn a_full_disk_fails_the_write() {
    let _alone = alone();
    let postgres = cluster(ScratchPostgres::builder());
    let bulk = Bulk::new(TestDb::on(&postgres));
    let mut superuser = bulk.db.superuser();
    let Some(disk) = SmallDisk::mount(&folder(&postgres, "small")) else {
        return refused_by_a_limit(&bulk, &postgres);
    };
    let location = folder(&postgres, "small/log");
    execute(
        &mut superuser,
        &format!("CREATE TABLESPACE small LOCATION '{}'", location.display()),
    );
    execute(
        &mut superuser,
        "ALTER TABLE audit_changes SET TABLESPACE small",
    );

    assert_log_cannot_grow(&bulk, &mut bulk.db.app());
    bulk.assert_agreement(BEFORE);
    // What was rolled back still fills the disk: no write goes unrecorded meanwhile.
    assert_log_cannot_grow(&bulk, &mut bulk.db.app());
    bulk.assert_agreement(BEFORE);
    disk.enlarge();
    bulk.assert_intact(BEFORE);
}

/// Where nothing can be mounted: files of the writer's session can't grow, as if the disk were full for it alone.
fn refused_by_a_limit(bulk: &Bulk, postgres: &ScratchPostgres) {
    let mut app = bulk.db.app();
    let pid = value(&mut app, "SELECT pg_backend_pid()");
    // The limit is above the size of a WAL segment.
    let mut limit = postgres.command("prlimit");
    limit.args([&format!("--pid={pid}"), "--fsize=17000000"]);
    if !limit.status().is_ok_and(|status| status.success()) {
        return skip("no disk can be filled: neither `mount` nor `prlimit` works here");
    }
    assert_log_cannot_grow(bulk, &mut app);
    bulk.assert_intact(BEFORE);
}

/// A bulk write fails because it is captured, and not for want of room for its own rows.
fn assert_log_cannot_grow(bulk: &Bulk, app: &mut PgConnection) {
    let error = write_as(app, "victim", BULK).unwrap_err().to_string();
    let log = "SELECT pg_relation_filepath('audit_changes')";
    let log = value(&mut bulk.db.superuser(), log);
    let expected = format!("could not extend file {log}");
    assert!(error.starts_with(&expected), "{error}, not {expected}");
}
