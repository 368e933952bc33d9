//! Tables, columns and placeholders of such names, captured.

use super::*;

/// Installs a plan over such names and captures through it: key `{key}`, masked `{masked}`, excluded `{excluded}`.
fn captures(
    owner: &mut PgConnection,
    table: &Identifier,
    key: &Identifier,
    masked: &Identifier,
    excluded: &Identifier,
    placeholder: &str,
) {
    let name = TableName::new(None, table.clone());
    let policy = Policy {
        mask: columns([masked.as_str()]).unwrap(),
        exclude: columns([excluded.as_str()]).unwrap(),
        placeholder: Placeholder::new(&name, placeholder).unwrap(),
        store_changed_from: true,
        ..Policy::default()
    };
    execute(
        owner,
        &format!(
            "CREATE TABLE {table} ({key} text PRIMARY KEY, {masked} text, {excluded} text, n int)"
        ),
    );
    let plan = CapturePlan::for_table(name, policy).unwrap();
    let earlier = value(owner, "SELECT coalesce(max(id), 0) FROM audit_changes");
    execute(owner, &plan.up_sql(&Storage::default()));
    execute(
        owner,
        &format!(
            "INSERT INTO {table} VALUES ('k', 'canary', 'canary', 1); UPDATE {table} SET {masked} = 'canary 2', n = 2; DELETE FROM {table}"
        ),
    );
    let log = rows(
        owner,
        &format!(
            "SELECT op, table_pk, data_after, changed_from FROM audit_changes WHERE table_name = {} AND id > {earlier} ORDER BY id",
            Literal(table.as_str())
        ),
    );
    let (key, masked) = (key.as_str(), masked.as_str());
    assert_eq!(
        log,
        [
            json!({"op": "insert", "table_pk": {key: "k"}, "data_after": {key: "k", masked: placeholder, "n": 1}, "changed_from": null}),
            json!({"op": "update", "table_pk": {key: "k"}, "data_after": {key: "k", masked: placeholder, "n": 2}, "changed_from": {masked: placeholder, "n": 1}}),
            json!({"op": "delete", "table_pk": {key: "k"}, "data_after": null, "changed_from": {key: "k", masked: placeholder, "n": 2}}),
        ]
    );
    execute(owner, &plan.down_sql(&Storage::default()));
    execute(owner, &format!("DROP TABLE {table}"));
}

#[test]
fn c32_hostile_names_are_captured() {
    let db = TestDb::new();
    let mut owner = db.owner();
    let name = |text: &str| Identifier::new(text).unwrap();
    for table in [
        "it's",
        "quo\"ted",
        "back\\slash",
        "$threadline$",
        "$threadline_$ $threadline$",
        ":storage",
        "two\nlines",
        "naïve 😀",
        "select",
        "100% %s %I",
        "a.b",
        "Mixed Case",
        "'; DROP TABLE audit_changes; --",
        "\"; DROP TABLE audit_changes; --",
        &"é".repeat(31),
    ] {
        captures(
            &mut owner,
            &name(table),
            &name("id"),
            &name("secret"),
            &name("hidden"),
            "[REDACTED]",
        );
        captures(
            &mut owner,
            &name("plain"),
            &name(table),
            &name("secret"),
            &name("hidden"),
            "[REDACTED]",
        );
        captures(
            &mut owner,
            &name("plain"),
            &name("id"),
            &name(table),
            &name("hidden"),
            "[REDACTED]",
        );
        captures(
            &mut owner,
            &name("plain"),
            &name("id"),
            &name("secret"),
            &name(table),
            "[REDACTED]",
        );
    }
    for placeholder in [
        "'",
        "\"",
        "\\",
        "$threadline$",
        ":storage",
        "%s",
        "{\"a\": 1}",
        "\\u0000",
        "'; DROP TABLE audit_changes; --",
        "😀",
    ] {
        captures(
            &mut owner,
            &name("plain"),
            &name("id"),
            &name("secret"),
            &name("hidden"),
            placeholder,
        );
    }
}

#[test]
fn c32_any_names_are_captured() {
    let db = TestDb::new();
    let owner = RefCell::new(db.owner());
    let placeholder = "[^\\p{Cc}]{1,20}";
    let names = (
        hostile_name(),
        hostile_name(),
        hostile_name(),
        hostile_name(),
    );
    proptest!(config(64), |((table, key, masked, excluded) in names, placeholder in placeholder)| {
        let n = Identifier::new("n").unwrap();
        let mut all = vec![&key, &masked, &excluded, &n];
        all.sort();
        all.dedup();
        prop_assume!(all.len() == 4 && !table.as_str().starts_with("audit_"));
        captures(&mut owner.borrow_mut(), &table, &key, &masked, &excluded, &placeholder);
    });
}

/// The row is read again when triggers write in a nest, where a column could be taken for the row.
#[test]
fn c32_columns_named_like_our_aliases_are_captured() {
    let db = TestDb::new();
    for column in [
        "t",
        "o",
        "n",
        "value",
        "source",
        "image",
        "old_row",
        "target",
        "table_id",
        "key_columns",
        "outcome",
        "changed",
    ] {
        db.create(&format!(
            "CREATE TABLE t_{column} (id bigint PRIMARY KEY, \"{column}\" text, counter int, document json);
             CREATE FUNCTION bump_{column}() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN UPDATE t_{column} SET counter = 2 WHERE id = 2 AND counter = 1; RETURN NULL; END';
             CREATE TRIGGER bump AFTER UPDATE ON t_{column} FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION bump_{column}();
             INSERT INTO t_{column} VALUES (1, 'a', 0, '{{}}'), (2, 'b', 0, '{{}}')"
        ));
        db.capture(
            &format!("t_{column}"),
            threadline::Definition::new("T", &["id"]).store_changed_from(),
        );
        execute(&mut db.app(), &format!("UPDATE t_{column} SET counter = 1"));
        let newest = value(
            &mut db.auditor(),
            &format!(
                "SELECT data_after FROM threadline_history('t_{column}', '{{\"id\": 2}}') ORDER BY id DESC LIMIT 1"
            ),
        );
        assert_eq!(
            newest,
            json!({"id": 2, column: "b", "counter": 2, "document": {}}),
            "{column}"
        );
    }
}
