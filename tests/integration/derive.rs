//! What the derive makes of a model.

use diesel::prelude::*;
use threadline::{Audited, Definition, RequireActor};

mod schema {
    diesel::table! {
        users {
            id -> BigInt,
            email -> Text,
            #[sql_name = "type"]
            kind -> Text,
            pin -> Integer,
            ssn -> Nullable<Text>,
            updated_at -> Timestamptz,
        }
    }

    diesel::table! {
        billing.invoices (tenant, number) {
            tenant -> BigInt,
            number -> Integer,
            #[sql_name = "Total"]
            total -> Numeric,
        }
    }
}

use schema::users;

const USER: Definition = Definition::new("User", &["id"])
    .store_changed_from()
    .except_columns(&["updated_at"])
    .exclude(&["type"])
    .mask(&["pin", "ssn"])
    .ignore_only(&["updated_at"])
    .columns_formerly(&[("email", "mail")])
    .fill(&[("pin", "-1")]);

#[test]
fn struct_and_field_forms_mean_the_same() {
    mod at_struct {
        use super::*;

        #[derive(Queryable, Selectable, Audited)]
        #[audited(store_changed_from, except_columns(updated_at), exclude(kind))]
        #[audited(mask(pin, ssn), ignore_only(updated_at), fill(pin = -1))]
        #[audited(formerly(email = "mail"))]
        #[allow(dead_code)]
        pub(super) struct User {
            id: i64,
            email: String,
            kind: String,
            pin: i32,
            ssn: Option<String>,
        }
    }
    mod at_fields {
        use super::*;

        #[derive(Queryable, Selectable, Audited)]
        #[audited(store_changed_from)]
        #[allow(dead_code)]
        pub(super) struct User {
            id: i64,
            #[audited(formerly = "mail")]
            email: String,
            #[audited(exclude)]
            #[diesel(column_name = kind)]
            what: String,
            #[audited(mask, fill = -1)]
            pin: i32,
            #[audited(mask)]
            ssn: Option<String>,
            #[audited(except, ignore_only)]
            updated_at: chrono::DateTime<chrono::Utc>,
        }
    }
    assert_eq!(at_struct::User::DEFINITION, USER);
    assert_eq!(at_fields::User::DEFINITION, USER);
}

#[test]
fn names_are_those_of_the_catalog() {
    #[derive(Audited)]
    #[diesel(table_name = crate::derive::schema::invoices)]
    #[audited(exclude(total), require_actor = "known", formerly = "bills")]
    struct Invoice;

    assert_eq!(
        Invoice::DEFINITION,
        Definition::new("Invoice", &["tenant", "number"])
            .exclude(&["Total"])
            .require_actor(RequireActor::Known)
            .formerly(&["bills"])
    );
    let plans = threadline::models![Invoice].plans().unwrap();
    assert_eq!(plans[0].table().to_string(), "billing.invoices");
}

#[test]
fn the_key_is_the_one_declared_last() {
    #[derive(Audited)]
    #[diesel(table_name = users)]
    struct OfTheTable;

    #[derive(Audited)]
    #[diesel(table_name = users, primary_key(email))]
    struct OfDiesel;

    #[derive(Audited)]
    #[diesel(table_name = users, primary_key(email))]
    #[audited(primary_key(kind, ssn), mask(email))]
    struct OfAudited;

    assert_eq!(OfTheTable::DEFINITION.key, ["id"]);
    assert_eq!(OfDiesel::DEFINITION.key, ["email"]);
    assert_eq!(OfAudited::DEFINITION.key, ["type", "ssn"]);
}

#[test]
fn several_models_read_one_table() {
    #[derive(Audited)]
    #[diesel(table_name = users)]
    #[audited(mask(email))]
    struct Owner;

    #[derive(Audited)]
    #[diesel(table_name = users)]
    #[audited(read_only, fill(email = "nobody"))]
    struct Reader;

    #[derive(Audited)]
    #[diesel(table_name = users)]
    #[audited(read_only)]
    struct OtherReader(
        #[diesel(column_name = email)]
        #[allow(dead_code)]
        String,
    );

    let models = threadline::models![Reader, Owner, OtherReader];
    let plans = models.plans().unwrap();
    assert_eq!(plans.len(), 1);
    assert_eq!(plans[0].policy().mask.len(), 1);
}

#[test]
fn redacted_text_and_nullable_columns_need_no_fill() {
    diesel::table! {
        use diesel::sql_types::*;
        use diesel::pg::sql_types::Citext;
        texts {
            id -> BigInt,
            long -> Text,
            short -> Varchar,
            folded -> Citext,
            number -> Nullable<Integer>,
        }
    }

    type Maybe = Option<i32>;

    #[derive(Queryable, Selectable, Audited)]
    #[audited(mask(long, short, folded, number))]
    #[allow(dead_code)]
    struct Text {
        long: String,
        short: String,
        folded: String,
        number: Maybe,
    }

    assert_eq!(Text::DEFINITION.mask.len(), 4);
}
