//! A transaction that touched parents and children.

use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline::schema::audit_actions;
use threadline::{Decision, Op, REVERT_ACTION, RevertError, RevertSubject, StepKind};

use super::*;

const TABLES: [&str; 2] = ["parents", "children"];

/// Every kind of write, cascades included.
const WORK: &str = "BEGIN;
    UPDATE parents SET total = 7.5, name = 'Anna' WHERE id = 1;
    UPDATE parents SET total = 99 WHERE id = 1;
    UPDATE children SET note = 'changed' WHERE note = 'n1';
    DELETE FROM parents WHERE id = 2;
    INSERT INTO parents VALUES (3, 'Cem', 'b@x', 0.10);
    INSERT INTO children (parent_id, note) VALUES (3, 'new'), (1, 'new too');
    COMMIT";

#[test]
fn previewed_applied_and_found_in_history() {
    let db = family();
    let before = state(&db, &TABLES);
    let transaction = work(&db, WORK);
    let after = state(&db, &TABLES);
    assert_ne!(before, after);

    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts(), []);
    assert_eq!(state(&db, &TABLES), after, "a preview writes nothing");
    insta::assert_snapshot!(plan.to_sql());

    let reverted = plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(reverted.rows, 7);
    assert_eq!(state(&db, &TABLES), before);

    let found: Vec<(Uuid, String, Uuid)> = audit_actions::table
        .filter(audit_actions::name.eq(REVERT_ACTION))
        .filter(audit_actions::reason.eq(RevertSubject::Transaction(transaction).to_string()))
        .select((
            audit_actions::id,
            audit_actions::status,
            audit_actions::transaction_id,
        ))
        .load(&mut db.auditor())
        .unwrap();
    let undoing = newest_transaction(&db);
    assert_eq!(found, [(reverted.action_id, "ok".to_owned(), undoing)]);
    let who = rows(
        &mut db.auditor(),
        &format!(
            "SELECT actor_ref, action_id, meta FROM audit_transactions WHERE id = '{undoing}'"
        ),
    );
    assert_eq!(
        who,
        [serde_json::json!({
            "actor_ref": {"type": "admin", "id": "ops-3"},
            "action_id": reverted.action_id,
            "meta": {"reverts": {"transaction_id": transaction}},
        })]
    );
    let history: Vec<Op> = threadline::schema::audit_changes::table
        .filter(threadline::schema::audit_changes::transaction_id.eq(undoing))
        .order(threadline::schema::audit_changes::id)
        .select(threadline::schema::audit_changes::op)
        .load(&mut db.auditor())
        .unwrap();
    let did = plan.steps().iter().map(|step| match step.kind {
        StepKind::Insert => Op::Insert,
        StepKind::Update => Op::Update,
        StepKind::Delete => Op::Delete,
        _ => panic!("{step:?}"),
    });
    assert_eq!(history, did.collect::<Vec<_>>());
}

#[test]
fn with_conflicts_previewed_decided_and_applied() {
    let db = family();
    let transaction = work(&db, WORK);
    execute(
        &mut db.app(),
        "UPDATE parents SET total = 1000 WHERE id = 1;
         INSERT INTO children (parent_id, note) VALUES (3, 'later');
         DELETE FROM children WHERE note = 'changed'",
    );
    let after = state(&db, &TABLES);
    let mut plan = plan(&db, transaction);
    insta::assert_snapshot!(plan.to_sql());
    let error = plan.apply(&mut db.reverter(), &context()).unwrap_err();
    let RevertError::Undecided(undecided) = &error else {
        panic!("{error}")
    };
    assert_eq!(undecided, plan.conflicts());
    assert_eq!(state(&db, &TABLES), after);

    // The later child keeps its parent, which keeps its address: the other parent can't come back, nor can its child.
    plan.decide_all(|conflict| {
        Some(if conflict.may_force() {
            Decision::Force
        } else {
            Decision::Skip
        })
    })
    .unwrap();
    let decided: Vec<_> = plan
        .decisions()
        .map(|(conflict, decision)| format!("{decision:?} {conflict}"))
        .collect();
    assert_eq!(
        decided,
        [
            r#"Force public.parents id = "1": changed since (total)"#,
            r#"Skip public.parents id = "3": 1 later rows of children refer to it by children_parent_id_fkey (parent_id)"#,
            r#"Skip public.parents id = "2": the key parents_email_key (email) is taken by the row {"id": "3"}"#,
            r#"Skip public.children id = "1": deleted since"#,
            r#"Skip public.children id = "3": the row of parents that children_parent_id_fkey (parent_id) names is gone"#,
        ]
    );
    let reverted = plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(reverted.rows, 3);
    assert_eq!(
        rows(
            &mut db.owner(),
            "SELECT p.id, p.name, p.total::text, (SELECT array_agg(note ORDER BY c.id) FROM children c WHERE c.parent_id = p.id) AS notes
             FROM parents p ORDER BY p.id"
        ),
        [
            serde_json::json!({"id": 1, "name": "Ann", "total": "120.00", "notes": ["n2"]}),
            serde_json::json!({"id": 3, "name": "Cem", "total": "0.10", "notes": ["later"]})
        ]
    );
    let action = value(
        &mut db.auditor(),
        &format!(
            "SELECT action_id FROM audit_transactions WHERE id = '{}'",
            newest_transaction(&db)
        ),
    );
    assert_eq!(action, reverted.action_id.to_string());
}

#[test]
fn a_revert_is_reverted_like_any_other_transaction() {
    let db = family();
    let transaction = work(&db, WORK);
    let after = state(&db, &TABLES);
    plan(&db, transaction)
        .apply(&mut db.reverter(), &context())
        .unwrap();
    plan(&db, newest_transaction(&db))
        .apply(&mut db.reverter(), &context())
        .unwrap();
    assert_eq!(state(&db, &TABLES), after);
}

#[test]
fn what_a_transaction_did_to_a_row_in_the_end_is_reverted() {
    let db = family();
    let transaction = work(
        &db,
        "BEGIN; INSERT INTO parents VALUES (9, 'brief', NULL, 1); DELETE FROM parents WHERE id = 9;
         UPDATE parents SET name = 'x' WHERE id = 1; UPDATE parents SET name = 'Ann' WHERE id = 1; COMMIT",
    );
    let plan = plan(&db, transaction);
    assert_eq!((plan.steps(), plan.conflicts()), (&[][..], &[][..]));
    let error = plan.apply(&mut db.reverter(), &context()).unwrap_err();
    assert!(matches!(error, RevertError::Nothing), "{error}");
}

#[tokio::test]
async fn the_same_asynchronously() {
    let db = family();
    let before = state(&db, &TABLES);
    let transaction = work(&db, WORK);
    let mut conn = AsyncPgConnection::establish(&db.url("tl_reverter"))
        .await
        .unwrap();
    let plan =
        diesel_async::RunQueryDsl::get_result(revert_transaction_plan(transaction), &mut conn)
            .await
            .unwrap();
    assert_eq!(plan, super::plan(&db, transaction));
    // Spawned, since its future has to be Send.
    let rows = tokio::spawn(async move {
        let context = context();
        plan.apply_async(&mut conn, &context).await.unwrap().rows
    });
    assert_eq!(rows.await.unwrap(), 7);
    assert_eq!(state(&db, &TABLES), before);
}
