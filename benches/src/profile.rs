//! What the instructions of captured writes are spent on. Two runs of different length are compared, so that neither
//! starting the server nor a connection's first writes are counted.

use std::fs;
use std::process::Stdio;

use diesel::connection::SimpleConnection;

use crate::Result;
use crate::callgrind::Profile;
use crate::markdown::{Table, paragraph, progress};
use crate::server::Server;
use crate::variant::{PLAIN, VARIANTS};
use crate::write::statement;

/// Reads a part's instructions from a profile.
type Part = fn(&Profile) -> f64;

/// What is spent where: parts that have nothing in common.
const PARTS: [(&str, Part); 7] = [
    ("`to_jsonb` of rows", |p| p.inclusive("to_jsonb")),
    ("entries of indexes", |p| {
        p.inclusive("ExecInsertIndexTuples")
    }),
    ("lines in the heap and in WAL", |p| {
        p.inclusive("heap_insert")
    }),
    ("queries: setting up and ending their executor", |p| {
        p.inclusive("ExecutorStart") + p.inclusive("ExecutorEnd")
    }),
    ("expressions: making them ready", |p| {
        p.inclusive("ExecInitExprWithParams") + p.inclusive("CheckExprStillValid")
    }),
    ("settings pinned around functions, and taken back", |p| {
        p.around("fmgr_security_definer", "plpgsql_call_handler")
    }),
    ("subtransactions of EXCEPTION blocks", |p| {
        p.inclusive("BeginInternalSubTransaction") + p.inclusive("ReleaseCurrentSubTransaction")
    }),
];

/// Name, unit, and the lengths of the two runs.
const OPERATIONS: [(&str, &str, usize, usize); 4] = [
    ("insert", "row", 200, 1200),
    ("update", "row", 200, 1200),
    ("delete", "row", 200, 1200),
    ("transactions", "transaction", 50, 150),
];

pub(crate) fn run(wanted: &[String]) -> Result<()> {
    let mut server = Server::start()?;
    // The files of the templates, with nothing left to recover.
    server.admin().batch_execute("CHECKPOINT")?;
    for (operation, unit, short, long) in OPERATIONS {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == operation) {
            continue;
        }
        let mut profiles = Vec::new();
        for (place, variant) in VARIANTS.iter().enumerate() {
            progress(&format!("{operation}: {}", variant.name))?;
            profiles.push([
                callgrind(&server, place, &script(operation, short))?,
                callgrind(&server, place, &script(operation, long))?,
            ]);
        }
        // Thousands of instructions that a variant takes over the plain one.
        let units = (long - short) as f64 * 1000.0;
        let over = |place: usize, part: Part| {
            let one = |[short, long]: &[Profile; 2]| (part(long) - part(short)) / units;
            one(&profiles[place]) - one(&profiles[PLAIN])
        };
        paragraph(&format!(
            "{operation}: thousands of instructions for each {unit}, over the plain one"
        ))?;
        let header: Vec<_> = ["part"]
            .into_iter()
            .chain(VARIANTS[PLAIN + 1..].iter().map(|v| v.name))
            .collect();
        let mut table = Table::new(&header);
        let captured = PLAIN + 1..VARIANTS.len();
        for (name, part) in PARTS {
            table.row(
                name,
                captured
                    .clone()
                    .map(|place| format!("{:.1}", over(place, part))),
            );
        }
        let rest = |place| {
            over(place, Profile::total)
                - PARTS
                    .iter()
                    .map(|(_, part)| over(place, *part))
                    .sum::<f64>()
        };
        table.row(
            "the rest: statements, expressions, queries at work",
            captured.clone().map(|place| format!("{:.1}", rest(place))),
        );
        table.row(
            "all",
            captured.map(|place| format!("**{:.1}**", over(place, Profile::total))),
        );
        table.print()?;
    }
    Ok(())
}

/// What the single-user server is told: statements that end with an empty line.
fn script(operation: &str, units: usize) -> String {
    // Functions are compiled and catalogs read at a connection's first writes.
    let mut statements = vec![
        "INSERT INTO users (email, name) VALUES ('first', 'First')".to_owned(),
        "UPDATE users SET name = 'Second'".to_owned(),
        "DELETE FROM users".to_owned(),
    ];
    match operation {
        "insert" => statements.push(statement("INSERT", units)),
        "update" | "delete" => {
            statements.push("SET session_replication_role = replica".to_owned());
            statements.push(statement("INSERT", units));
            statements.push("SET session_replication_role = origin".to_owned());
            statements.push(statement(&operation.to_uppercase(), units));
        }
        _ => {
            statements.extend(
                [
                    "PREPARE a AS SELECT set_config('threadline.actor_ref', $1, true)",
                    "PREPARE i(bigint) AS INSERT INTO users (id, email, name, age, tags) VALUES ($1, 'ada@example.com', 'Ada', 36, '{staff,billing}')",
                    "PREPARE u(bigint) AS UPDATE users SET name = 'Ada L.', updated_at = now() WHERE id = $1",
                    "PREPARE v(bigint) AS UPDATE users SET role = 'admin', active = false WHERE id = $1",
                    "PREPARE d(bigint) AS DELETE FROM users WHERE id = $1",
                ]
                .map(str::to_owned),
            );
            for id in 1..=units {
                statements.push("BEGIN".to_owned());
                statements.push(r#"EXECUTE a('{"type": "user", "id": "42"}')"#.to_owned());
                statements.extend(["i", "u", "v", "d"].map(|name| format!("EXECUTE {name}({id})")));
                statements.push("COMMIT".to_owned());
            }
        }
    }
    statements.join(";\n\n") + ";\n\n"
}

/// One run of a variant on a copy of the cluster.
fn callgrind(server: &Server, variant: usize, script: &str) -> Result<Profile> {
    let postgres = server.postgres();
    // In the cluster's own folder, which its account may write to and which goes with it.
    let dir = postgres.dir();
    let (copy, input, output) = (dir.join("copy"), dir.join("script"), dir.join("callgrind"));
    fs::write(&input, script)?;
    for mut command in [
        {
            let mut c = postgres.command("rm");
            c.arg("-rf").arg(&copy).arg(&output);
            c
        },
        {
            let mut c = postgres.command("cp");
            c.arg("-R").arg(dir.join("data")).arg(&copy);
            c
        },
        {
            let mut c = postgres.command("rm");
            c.arg(copy.join("postmaster.pid"));
            c
        },
    ] {
        if !command.status()?.success() {
            return Err(format!("{command:?} failed").into());
        }
    }
    let said = postgres
        .command("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(postgres.bin_dir().join("postgres"))
        .args([
            "--single",
            "-j",
            "-c",
            "fsync=off",
            "-c",
            "autovacuum=off",
            "-D",
        ])
        .arg(&copy)
        .arg(format!("template_{variant}"))
        .stdin(fs::File::open(&input)?)
        .stdout(Stdio::null())
        .output()?;
    let stderr = String::from_utf8_lossy(&said.stderr);
    if !said.status.success() || stderr.contains("ERROR:") {
        return Err(format!("the single-user server: {stderr}").into());
    }
    Ok(Profile::parse(&fs::read_to_string(&output)?))
}
