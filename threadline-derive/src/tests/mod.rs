//! Snapshots of the expansion; `INSTA_UPDATE=always cargo test -p threadline-derive` writes them anew.

use syn::{DeriveInput, parse_quote};

/// The expansion, as rustfmt would print it.
fn expand(input: &DeriveInput) -> String {
    let tokens = crate::derive(input);
    let file = syn::parse2(tokens).expect("the expansion is a list of items");
    prettyplease::unparse(&file)
}

#[test]
fn a_model_without_attributes() {
    insta::assert_snapshot!(expand(&parse_quote! {
        struct User {
            id: i64,
            email: String,
        }
    }));
}

#[test]
fn every_attribute_of_a_struct() {
    insta::assert_snapshot!(expand(&parse_quote! {
        #[diesel(table_name = schema::users, check_for_backend(diesel::pg::Pg))]
        #[diesel(belongs_to(Team, foreign_key = team_id), base_query_type = Filter<users::table, Live>)]
        #[audited(store_changed_from, except_columns(updated_at), exclude(secret), mask(email, ssn))]
        #[audited(mask_placeholder = "***", ignore_only(seen_at), require_actor = known)]
        #[audited(primary_key(tenant, number), formerly = "accounts", formerly = "logins")]
        #[audited(formerly(email = "mail", r#type = "kind"), fill(plan = "free", seats = 1, rate = -0.5))]
        struct User {
            id: i64,
        }
    }));
}

#[test]
fn every_attribute_of_a_field() {
    insta::assert_snapshot!(expand(&parse_quote! {
        #[diesel(table_name = users)]
        struct User {
            id: i64,
            #[audited(mask)]
            email: String,
            #[audited(exclude)]
            #[diesel(column_name = "type")]
            kind: Option<Kind>,
            #[audited(mask, fill = 0)]
            pin: i32,
            #[audited(except, ignore_only, formerly = "changed_at")]
            #[diesel(skip_insertion, deserialize_as = Wrapped<Time, Utc>)]
            updated_at: Time,
        }
    }));
}

#[test]
fn a_reader_with_diesels_key() {
    insta::assert_snapshot!(expand(&parse_quote! {
        #[diesel(table_name = memberships, primary_key(group_id, user_id))]
        #[audited(read_only, formerly = "members")]
        struct MembershipName(
            #[diesel(column_name = group_id)] i64,
            #[diesel(column_name = user_id)] i64,
            #[diesel(select_expression = memberships::name.concat("!"))] String,
        );
    }));
}

#[test]
fn mistakes_leave_an_implementation() {
    insta::assert_snapshot!(expand(&parse_quote! {
        #[audited(exclud(email), mask(email), mask_placeholder = "")]
        struct User<'a> {
            #[audited(exclude)]
            email: &'a str,
        }
    }));
}

#[test]
fn struct_and_field_forms_expand_alike() {
    let at_struct = expand(&parse_quote! {
        #[audited(exclude(token), mask(email, pin), fill(pin = 0), except_columns(seen_at))]
        #[audited(ignore_only(seen_at), formerly(email = "mail", email = "address"))]
        struct User {
            id: i64,
            token: Option<String>,
            email: String,
            pin: i32,
            seen_at: Time,
        }
    });
    let at_fields = expand(&parse_quote! {
        struct User {
            id: i64,
            #[audited(exclude)]
            token: Option<String>,
            #[audited(mask)]
            #[audited(formerly = "mail", formerly = "address")]
            email: String,
            #[audited(mask, fill = 0)]
            pin: i32,
            #[audited(except, ignore_only)]
            seen_at: Time,
        }
    });
    assert_eq!(at_struct, at_fields);
}

#[test]
fn the_default_table_is_diesels() {
    for (model, table) in [
        ("User", "users"),
        ("FooBar", "foo_bars"),
        ("HTTPLog", "h_t_t_p_logs"),
        ("Snake_case", "snake_cases"),
    ] {
        let input: DeriveInput = syn::parse_str(&format!("struct {model};")).expect("a struct");
        let expansion = expand(&input);
        assert!(
            expansion.contains(&format!("type Table = {table}::table;")),
            "{expansion}"
        );
    }
}
