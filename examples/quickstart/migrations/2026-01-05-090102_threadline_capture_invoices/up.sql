-- threadline: capture invoices
-- fingerprint: 1403a02902716909
-- columns: id
-- storage: public

SELECT "public".threadline_capture_v1(
    relation => to_regclass('"invoices"'),
    target => 'invoices',
    key_columns => '{"id"}',
    rules => '{"max_value_bytes":1000000,"require_actor":"any","store_changed_from":true}',
    former_names => '{}',
    former_columns => '{}',
    fingerprint => '1403a02902716909',
    lock_timeout => '2s',
    body => $threadline$
DECLARE
    max_value_bytes CONSTANT integer := 1000000;
    before jsonb;
    after jsonb;
    changed text[];
    unchanged jsonb;
    command text;
    outcome text;
BEGIN
    IF TG_TABLE_NAME <> table_name OR TG_TABLE_SCHEMA <> table_schema THEN
        PERFORM "public".threadline_verify_v1(TG_RELID, table_schema, table_name);
    END IF;
    IF current_setting('threadline.capture', true) = 'off' THEN
        PERFORM "public".threadline_bypass_v1(table_id, table_schema, table_name);
        RETURN NULL;
    ELSIF TG_OP = 'TRUNCATE' THEN
        PERFORM "public".threadline_truncate_v1(table_id, table_schema, table_name, rules, TG_RELID, TG_WHEN);
        RETURN NULL;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW *= OLD THEN
            RETURN NULL;
        END IF;
        IF rules ?| '{inexact,on_change}' THEN
            changed := "public".threadline_differences_v1(OLD, NEW);
        END IF;
        IF rules ? 'on_change' THEN
            unchanged := "public".threadline_unchanged_v1(rules, changed);
        END IF;
    END IF;

    BEGIN
        IF unchanged IS NOT NULL THEN
            -- Not even looked at: a large document beside a counter costs nothing.
            after := "public".threadline_image_v1(jsonb_populate_record(NEW, unchanged), rules);
            before := "public".threadline_image_v1(jsonb_populate_record(OLD, unchanged), rules);
        ELSE
            IF TG_OP <> 'DELETE' AND pg_column_size(NEW) <= max_value_bytes THEN
                after := to_jsonb(NEW);
            END IF;
            IF TG_OP <> 'INSERT' AND pg_column_size(OLD) <= max_value_bytes THEN
                before := to_jsonb(OLD);
            END IF;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        after := NULL; -- and so both are made column by column
    END;
    IF (TG_OP <> 'DELETE' AND (after IS NULL OR pg_column_size(after) > max_value_bytes))
        OR (TG_OP <> 'INSERT' AND (before IS NULL OR pg_column_size(before) > max_value_bytes))
        OR (unchanged IS NULL AND rules ? 'as_text')
    THEN
        IF TG_OP <> 'DELETE' THEN
            after := "public".threadline_image_v1(NEW, rules);
        END IF;
        IF TG_OP <> 'INSERT' THEN
            before := "public".threadline_image_v1(OLD, rules);
        END IF;
        IF TG_OP = 'UPDATE' THEN
            changed := "public".threadline_differences_v1(OLD, NEW);
        END IF;
    END IF;
    IF known_columns IS NOT NULL THEN
        IF coalesce(after, before) - known_columns <> '{}' THEN
            PERFORM "public".threadline_verify_columns_v1(TG_RELID, table_schema, table_name, rules, coalesce(after, before), known_columns);
        END IF;
    END IF;
    IF unchanged IS NOT NULL THEN
        after := after - ARRAY(SELECT jsonb_object_keys(unchanged));
        before := before - ARRAY(SELECT jsonb_object_keys(unchanged));
    END IF;

    -- The command that wrote this row. A row of this transaction's own may have another number in its place.
    IF TG_OP <> 'DELETE' THEN
        command := NEW.cmin;
    ELSIF age(OLD.xmin) > age(pg_current_xact_id()::xid) THEN
        command := OLD.cmax;
    END IF;
    outcome := "public".threadline_record_v1(table_id, table_schema, table_name, rules, TG_OP, command, before, after, changed);
    IF outcome IS NULL THEN
        outcome := "public".threadline_record_v1(table_id, table_schema, table_name, rules, TG_OP, command, before, after,
            "public".threadline_differences_v1(OLD, NEW));
    END IF;

    -- Two rows may live under a deferrable key: where one is deleted, the other one is the newest.
    IF outcome <> '' OR key_deferrable THEN
        IF TG_OP = 'DELETE' OR outcome = 'moved' THEN
            PERFORM "public".threadline_settle_v1(OLD, true, table_id, table_schema, table_name, rules);
        END IF;
        IF TG_OP <> 'DELETE' THEN
            -- A version that was updated, deleted or locked already.
            IF NEW.xmax <> '0' THEN
                PERFORM "public".threadline_settle_v1(NEW, false, table_id, table_schema, table_name, rules);
            END IF;
        END IF;
    END IF;
    RETURN NULL;
END;
$threadline$);
