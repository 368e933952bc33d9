//! The log is not captured.

use super::*;

const OWN: [&str; 5] = [
    "audit_changes",
    "audit_transactions",
    "audit_actions",
    "audit_commits",
    "audit_tables",
];

#[test]
fn c32_own_tables_are_refused_when_the_plan_is_built() {
    for own in OWN {
        for spelling in [
            own.to_owned(),
            format!("public.{own}"),
            format!("\"public\".\"{own}\""),
        ] {
            let error =
                CapturePlan::for_table(spelling.parse().unwrap(), Policy::default()).unwrap_err();
            assert!(
                matches!(error, PlanError::OwnTable { .. }),
                "{spelling}: {error}"
            );
        }
    }
}

/// A plan can't name them, so its SQL is made to.
#[test]
fn c32_own_tables_are_refused_when_the_migration_runs() {
    let db = TestDb::new();
    let sql = CapturePlan::for_table("victims".parse().unwrap(), Policy::default())
        .unwrap()
        .up_sql(&Storage::default());
    for own in OWN {
        for spelling in [
            format!("\"{own}\""),
            format!("public.{own}"),
            format!("\"test\".public.{}", own.to_uppercase()),
        ] {
            let spelling = spelling.replace("\"test\"", db.name());
            let sql = sql.replace("\"victims\"", &spelling);
            assert!(sql.contains(&format!("to_regclass('{spelling}')")), "{sql}");
            let error = try_execute(&mut db.owner(), &sql).unwrap_err();
            assert!(
                error.contains("is part of the audit log"),
                "{spelling}: {error}"
            );
        }
    }
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_tables"),
        json!(0)
    );
    assert_eq!(
        value(
            &mut db.owner(),
            "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '!threadline%'"
        ),
        json!(0)
    );
}
