-- threadline: capture customers
-- fingerprint: 437d5f6b31516866
-- columns: id, password_hash, tax_id, updated_at
-- redacted: password_hash, tax_id
-- storage: public

SELECT "public".threadline_capture_v1(
    relation => to_regclass('"customers"'),
    target => 'customers',
    key_columns => '{"id"}',
    redacted => '{"password_hash":null,"tax_id":"[REDACTED]"}',
    listed_columns => '{"password_hash","tax_id","updated_at"}',
    former_names => '{}',
    former_columns => '{}',
    fingerprint => '437d5f6b31516866',
    lock_timeout => '2s',
    body => $threadline$
DECLARE
    exclude CONSTANT text[] := '{"password_hash"}' || virtual_columns;
    mask CONSTANT jsonb := '{"tax_id":"[REDACTED]"}';
    except_columns CONSTANT text[] := '{"updated_at"}';
    ignore_only CONSTANT text[] := '{}';
    store_changed_from CONSTANT boolean := true;
    require_actor CONSTANT text := NULL;
    redacted CONSTANT text[] := '{"password_hash","tax_id"}';
    max_value_bytes CONSTANT integer := 1000000;
    before jsonb;
    after jsonb;
    changed text[];
    outcome text;
BEGIN
    IF TG_TABLE_NAME <> table_name OR TG_TABLE_SCHEMA <> table_schema THEN
        PERFORM "public".threadline_verify_v1(TG_RELID, table_schema, table_name);
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM "public".threadline_truncate_v1(table_id, table_schema, table_name, TG_TABLE_SCHEMA, TG_TABLE_NAME, require_actor);
        RETURN NULL;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW *= OLD THEN
            RETURN NULL;
        END IF;
    END IF;

    BEGIN
        IF TG_OP <> 'DELETE' AND pg_column_size(NEW) <= max_value_bytes THEN
            after := to_jsonb(NEW);
        END IF;
        IF TG_OP <> 'INSERT' AND pg_column_size(OLD) <= max_value_bytes THEN
            before := to_jsonb(OLD);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        after := NULL; -- and so both are made column by column
    END;
    IF (TG_OP <> 'DELETE' AND (after IS NULL OR pg_column_size(after) > max_value_bytes))
        OR (TG_OP <> 'INSERT' AND (before IS NULL OR pg_column_size(before) > max_value_bytes))
    THEN
        IF TG_OP <> 'DELETE' THEN
            after := "public".threadline_image_v1(NEW, redacted, max_value_bytes);
        END IF;
        IF TG_OP <> 'INSERT' THEN
            before := "public".threadline_image_v1(OLD, redacted, max_value_bytes);
        END IF;
        IF TG_OP = 'UPDATE' THEN
            changed := "public".threadline_differences_v1(OLD, NEW);
        END IF;
    ELSIF TG_OP = 'UPDATE' AND inexact THEN
        changed := "public".threadline_differences_v1(OLD, NEW);
    END IF;
    IF NOT coalesce(after, before) ?& redacted THEN
        PERFORM "public".threadline_verify_columns_v1(ARRAY(SELECT jsonb_object_keys(coalesce(after, before))),
            table_schema, table_name, known_columns, redacted);
    END IF;
    -- A column that came later may be computed from a redacted one.
    IF redacted <> '{}' AND coalesce(after, before) - known_columns <> '{}' THEN
        PERFORM "public".threadline_check_redaction_v1(TG_RELID, redacted, '{}');
    END IF;

    outcome := "public".threadline_record_v1(table_id, table_schema, table_name, key_columns, TG_OP, before, after, changed,
        exclude, mask, except_columns, ignore_only, store_changed_from, require_actor);
    IF outcome IS NULL THEN
        changed := "public".threadline_differences_v1(OLD, NEW);
        outcome := "public".threadline_record_v1(table_id, table_schema, table_name, key_columns, TG_OP, before, after, changed,
            exclude, mask, except_columns, ignore_only, store_changed_from, require_actor);
    END IF;

    -- Two rows may live under a deferrable key: where one is deleted, the other one is the newest.
    IF outcome <> '' OR key_deferrable THEN
        IF TG_OP = 'DELETE' OR outcome = 'moved' THEN
            PERFORM "public".threadline_settle_v1(OLD, NULL, table_id, table_schema, table_name, key_columns,
                exclude, mask, except_columns, ignore_only, store_changed_from, require_actor, max_value_bytes);
        END IF;
        IF TG_OP <> 'DELETE' THEN
            -- A version that was updated, deleted or locked already.
            IF NEW.xmax <> '0' THEN
                PERFORM "public".threadline_settle_v1(NEW, after, table_id, table_schema, table_name, key_columns,
                    exclude, mask, except_columns, ignore_only, store_changed_from, require_actor, max_value_bytes);
            END IF;
        END IF;
    END IF;
    RETURN NULL;
END;
$threadline$);
