//! Each scenario of the playbook: its SQL as it stands, and the typed call.

use super::*;

#[test]
fn who_changed_this_row() {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(embed)]
        changed: Changed,
        #[diesel(sql_type = Timestamptz)]
        captured_at: DateTime<Utc>,
        #[diesel(sql_type = Nullable<Jsonb>)]
        actor_ref: Option<ActorRef>,
    }
    let mut conn = incident().auditor();
    let recipe: Vec<Row> =
        diesel::sql_query(include_str!("../../recipes/who_changed_this_row.sql"))
            .load(&mut conn)
            .unwrap();
    let emails: Vec<_> = recipe
        .iter()
        .map(|r| {
            r.changed.data_after.as_ref().unwrap()["email"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(
        emails,
        [
            "window closes@x",
            "the moment itself@x",
            "twice@x",
            "twice@x",
            "window opens@x"
        ]
    );

    let typed = User::history(USER)
        .filter(change::captured_at.between(time("10:00:00"), time("11:00:00")))
        .load(&mut conn)
        .unwrap();
    assert_eq!(typed.len(), recipe.len());
    for (typed, raw) in typed.iter().zip(&recipe) {
        let Changed {
            id,
            table_name,
            table_pk,
            op,
            changed_fields,
            changed_from,
            data_after,
        } = &raw.changed;
        assert_eq!((typed.id, typed.op.as_str()), (*id, op.as_str()));
        assert_eq!(&typed.changed_fields, changed_fields);
        assert_eq!(
            typed
                .changed_from
                .as_ref()
                .map(threadline::RecordedRow::to_value),
            *changed_from
        );
        assert_eq!(
            (typed.captured_at, typed.actor()),
            (raw.captured_at, raw.actor_ref.as_ref())
        );
        assert_eq!(
            (table_name.as_str(), table_pk),
            ("users", &json!({"id": "123"}))
        );
        let User { id, email, name } = typed.after().unwrap();
        assert_eq!(
            data_after,
            &Some(json!({"id": id, "email": email, "name": name}))
        );
    }
}

#[test]
fn what_did_this_service_account_do() {
    #[derive(Debug, PartialEq, QueryableByName, Queryable)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        transaction_id: Uuid,
        #[diesel(sql_type = Timestamptz)]
        occurred_at: DateTime<Utc>,
        #[diesel(sql_type = Text)]
        table_name: String,
        #[diesel(sql_type = Jsonb)]
        table_pk: Value,
        #[diesel(sql_type = Text)]
        op: String,
        #[diesel(sql_type = Nullable<Array<Text>>)]
        changed_fields: Option<Vec<String>>,
        #[diesel(sql_type = Nullable<Jsonb>)]
        changed_from: Option<Value>,
        #[diesel(sql_type = Nullable<Jsonb>)]
        data_after: Option<Value>,
    }
    let mut conn = incident().auditor();
    let recipe: Vec<Row> = diesel::sql_query(include_str!(
        "../../recipes/what_did_this_service_account_do.sql"
    ))
    .load(&mut conn)
    .unwrap();
    let writes: Vec<_> = recipe
        .iter()
        .map(|r| (r.table_name.as_str(), r.op.as_str()))
        .collect();
    assert_eq!(
        writes,
        [
            ("users", "delete"),
            ("posts", "insert"),
            ("users", "update")
        ]
    );

    let day_start = Utc::now()
        .date_naive()
        .and_time(chrono::NaiveTime::MIN)
        .and_utc();
    let typed: Vec<Row> = audit_transactions::table
        .inner_join(audit_changes::table)
        .filter(
            audit_transactions::actor_ref.eq(ActorRef::service_account(SERVICE_ACCOUNT).unwrap()),
        )
        .filter(audit_transactions::occurred_at.ge(day_start))
        .order((
            audit_transactions::occurred_at.desc(),
            audit_changes::captured_at.desc(),
            audit_changes::id.desc(),
        ))
        .select((
            audit_transactions::id,
            audit_transactions::occurred_at,
            audit_changes::table_name,
            audit_changes::table_pk,
            audit_changes::op,
            audit_changes::changed_fields,
            audit_changes::changed_from,
            audit_changes::data_after,
        ))
        .load(&mut conn)
        .unwrap();
    assert_eq!(typed, recipe);
}

#[test]
fn did_this_job_mutate_the_database() {
    #[derive(Debug, PartialEq, QueryableByName, Queryable)]
    struct Row {
        #[diesel(embed)]
        changed: Changed,
        #[diesel(sql_type = Nullable<Text>)]
        job_id: Option<String>,
        #[diesel(sql_type = Nullable<Text>)]
        correlation_id: Option<String>,
    }
    let mut conn = incident().auditor();
    let recipe: Vec<Row> = diesel::sql_query(include_str!(
        "../../recipes/did_this_job_mutate_the_database.sql"
    ))
    .load(&mut conn)
    .unwrap();
    let writes: Vec<_> = recipe
        .iter()
        .map(|r| (r.changed.table_name.as_str(), r.changed.op.as_str()))
        .collect();
    assert_eq!(
        writes,
        [
            ("posts", "delete"),
            ("users", "update"),
            ("posts", "insert"),
            ("users", "update")
        ]
    );
    assert_eq!(
        (
            recipe[0].job_id.as_deref(),
            recipe[0].correlation_id.as_deref()
        ),
        (Some("8812"), Some("checkout-19"))
    );

    let typed: Vec<Row> = audit_changes::table
        .inner_join(audit_transactions::table)
        .left_join(
            audit_actions::table.on(audit_actions::id
                .nullable()
                .eq(audit_transactions::action_id)),
        )
        .filter(audit_changes::transaction_id.eq(TRANSACTION))
        .order((audit_changes::captured_at.desc(), audit_changes::id.desc()))
        .select((
            ChangedColumns::default(),
            audit_actions::job_id.nullable(),
            audit_actions::correlation_id.nullable(),
        ))
        .load(&mut conn)
        .unwrap();
    assert_eq!(typed, recipe);
}

#[test]
fn what_did_this_row_look_like() {
    #[derive(Debug, PartialEq, QueryableByName, Queryable)]
    struct Row {
        #[diesel(sql_type = Text)]
        op: String,
        #[diesel(sql_type = Nullable<Jsonb>)]
        data_after: Option<Value>,
        #[diesel(sql_type = Nullable<Array<Text>>)]
        changed_fields: Option<Vec<String>>,
        #[diesel(sql_type = Nullable<Jsonb>)]
        changed_from: Option<Value>,
        #[diesel(sql_type = Timestamptz)]
        captured_at: DateTime<Utc>,
    }
    let mut conn = incident().auditor();
    let recipe: Vec<Row> = diesel::sql_query(include_str!(
        "../../recipes/what_did_this_row_look_like.sql"
    ))
    .load(&mut conn)
    .unwrap();
    assert_eq!(
        recipe.iter().map(|r| r.op.as_str()).collect::<Vec<_>>(),
        ["insert", "update", "update", "update", "update", "update"]
    );

    let moment = time("10:30:00");
    let typed: Vec<Row> = User::changes_of(USER)
        .filter(change::captured_at.le(moment))
        .order((change::captured_at.asc(), change::id.asc()))
        .select((
            change::op,
            change::data_after,
            change::changed_fields,
            change::changed_from,
            change::captured_at,
        ))
        .load(&mut conn)
        .unwrap();
    assert_eq!(typed, recipe);

    // The newest of them is the row; the service account's write of three days ago came later in the log.
    let AsOf::Found { row, origin, .. } = User::as_of(USER, moment).get_result(&mut conn).unwrap()
    else {
        panic!()
    };
    assert_eq!(
        row,
        User {
            id: USER,
            email: "the moment itself@x".into(),
            name: Some("Ann".into())
        }
    );
    let last = recipe.last().unwrap();
    assert_eq!(
        last.data_after,
        Some(json!({"id": 123, "email": "the moment itself@x", "name": "Ann"}))
    );
    assert_eq!(origin.captured_at, last.captured_at);
}

#[test]
fn what_happened_in_this_transaction() {
    #[derive(Debug, PartialEq, QueryableByName, Queryable)]
    struct Row {
        #[diesel(embed)]
        changed: Changed,
        #[diesel(sql_type = Timestamptz)]
        captured_at: DateTime<Utc>,
    }
    let mut conn = incident().auditor();
    let recipe: Vec<Row> = diesel::sql_query(include_str!(
        "../../recipes/what_happened_in_this_transaction.sql"
    ))
    .load(&mut conn)
    .unwrap();
    let typed: Vec<Row> = audit_changes::table
        .filter(audit_changes::transaction_id.eq(TRANSACTION))
        .order((audit_changes::captured_at.desc(), audit_changes::id.desc()))
        .select((ChangedColumns::default(), audit_changes::captured_at))
        .load(&mut conn)
        .unwrap();
    assert_eq!(typed, recipe);

    // And model by model.
    let mut ids = User::changes()
        .filter(change::transaction_id.eq(TRANSACTION))
        .select(change::id)
        .load::<i64>(&mut conn)
        .unwrap();
    ids.extend(
        Post::changes()
            .filter(change::transaction_id.eq(TRANSACTION))
            .select(change::id)
            .load::<i64>(&mut conn)
            .unwrap(),
    );
    ids.sort_by(|a, b| b.cmp(a));
    assert_eq!(ids, recipe.iter().map(|r| r.changed.id).collect::<Vec<_>>());
}
