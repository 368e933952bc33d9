use diesel::prelude::*;
use insta::assert_snapshot;
use threadline::{Audited, models};

use crate::util::App;

diesel::table! {
    users (id) {
        id -> BigInt,
        email -> Text,
        ssn -> Nullable<Text>,
        password_hash -> Text,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    billing.lines (invoice, position) {
        invoice -> Integer,
        position -> Integer,
    }
}

#[derive(Queryable, Selectable, Audited)]
#[diesel(table_name = users)]
#[audited(store_changed_from, except_columns(updated_at), exclude(password_hash))]
#[expect(dead_code, reason = "only the model's rules count here")]
struct User {
    id: i64,
    email: String,
    #[audited(mask)]
    ssn: Option<String>,
}

#[derive(Queryable, Selectable, Audited)]
#[diesel(table_name = lines)]
#[expect(dead_code, reason = "only the model's rules count here")]
struct Line {
    invoice: i32,
    position: i32,
}

#[test]
fn the_attributes_are_the_policy() {
    let app = App::installed().with(models![User, Line]);
    assert_snapshot!(app.succeeds("generate --dry-run"), @"
    users: key=id exclude=password_hash mask=ssn except=updated_at store_changed_from (new)
    billing.lines: key=invoice,position exclude=- mask=- except=- (new)
    ");
    assert_snapshot!(app.succeeds("generate"), @"
    Wrote migrations/2026-05-04-120001-0001_threadline_capture_users/up.sql
    Wrote migrations/2026-05-04-120001-0001_threadline_capture_users/down.sql
    Wrote migrations/2026-05-04-120001-0002_threadline_capture_billing_lines/up.sql
    Wrote migrations/2026-05-04-120001-0002_threadline_capture_billing_lines/down.sql

    Next: `diesel migration run`.
    ");
    assert_snapshot!(app.header("2026-05-04-120001-0001_threadline_capture_users"), @"
    -- threadline: capture users
    -- fingerprint: [16 digits]
    -- columns: id, password_hash, ssn, updated_at
    -- redacted: password_hash, ssn
    -- storage: public
    ");
    assert_snapshot!(app.succeeds("generate"), @"Nothing changed: the migrations capture every table as asked.");
}

#[test]
fn an_unlisted_table_is_told_and_kept() {
    let app = App::installed().with(models![User, Line]);
    app.succeeds("generate");
    let app = app.with(models![User]);
    assert_snapshot!(app.succeeds("generate"), @"
    Nothing changed: the migrations capture every table as asked.
    Note: `billing.lines` stays captured and no model is for it; `--prune` would end that.
    ");
    assert_snapshot!(app.succeeds("generate --prune --dry-run"), @"
    users: key=id exclude=password_hash mask=ssn except=updated_at store_changed_from (unchanged)
    billing.lines (capture ends)
    ");
    assert_snapshot!(app.succeeds("generate --prune"), @"
    Wrote migrations/2026-05-04-120002_threadline_release_billing_lines/up.sql
    Wrote migrations/2026-05-04-120002_threadline_release_billing_lines/down.sql

    Next: `diesel migration run`.
    ");
}

#[test]
fn tables_without_a_model_come_on_top() {
    let app = App::installed().with(models![User]);
    assert_snapshot!(app.succeeds("generate --tables legacy --mask note --dry-run"), @"
    users: key=id exclude=password_hash mask=ssn except=updated_at store_changed_from (new)
    legacy: key=(primary key) exclude=- mask=note except=- (new)
    ");
    assert_snapshot!(app.fails(2, "generate --tables users"), @"error: table `users` belongs to a model of this program, whose attributes hold its policy; leave it out of `--tables`");
    assert_snapshot!(app.fails(2, "generate --mask email"), @"error: policy flags are for the tables in `--tables`; the policy of a model is in its attributes, such as `#[audited(mask)]`: change them there, or name a table without a model");
}
