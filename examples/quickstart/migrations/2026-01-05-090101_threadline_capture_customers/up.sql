-- threadline: capture customers
-- fingerprint: a483b88ea16069cf
-- columns: id, password_hash, tax_id, updated_at
-- redacted: password_hash, tax_id
-- storage: public

SELECT "public".threadline_capture_v1(
    relation => to_regclass('"customers"'),
    target => 'customers',
    key_columns => '{"id"}',
    rules => '{"except_columns":["updated_at"],"exclude":["password_hash"],"mask":{"tax_id":"[REDACTED]"},"max_value_bytes":1000000,"redacted":["password_hash","tax_id"],"store_changed_from":true}',
    former_names => '{}',
    former_columns => '{}',
    fingerprint => 'a483b88ea16069cf',
    lock_timeout => '2s',
    body => $threadline$
    before jsonb;
    after jsonb;
    changed text[];
    unchanged jsonb;
    command text;
    outcome text;
BEGIN
    -- Few expressions: every table has a plan of each, in every connection.
    BEGIN
        IF TG_OP = 'UPDATE' THEN
            IF NEW *= OLD THEN
                RETURN NULL;
            ELSIF rules ?| '{inexact,on_change,as_text}' THEN
                changed := "public".threadline_differences_v1(OLD, NEW);
                unchanged := "public".threadline_unchanged_v1(rules, changed);
            END IF;
            command := NEW.cmin;
            IF unchanged IS NOT NULL THEN
                -- Not even looked at: a large document beside a counter costs nothing.
                after := "public".threadline_image_v1(jsonb_populate_record(NEW, unchanged), rules);
                before := "public".threadline_image_v1(jsonb_populate_record(OLD, unchanged), rules);
            ELSIF greatest(pg_column_size(NEW), pg_column_size(OLD)) <= 1000000 THEN
                after := to_jsonb(NEW);
                before := to_jsonb(OLD);
            END IF;
        ELSIF TG_OP = 'INSERT' THEN
            command := NEW.cmin;
            after := CASE WHEN pg_column_size(NEW) <= 1000000 THEN to_jsonb(NEW) END;
        ELSIF TG_OP = 'DELETE' THEN
            -- The number of a command is only in the row's place for it where the row is older than the transaction.
            command := CASE WHEN age(OLD.xmin) > age(pg_current_xact_id()::xid) THEN OLD.cmax END;
            before := CASE WHEN pg_column_size(OLD) <= 1000000 THEN to_jsonb(OLD) END;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        before := NULL; -- and so both are made column by column
        unchanged := NULL;
    END;
    outcome := "public".threadline_record_v1(rules, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP, TG_WHEN, command,
        :known_columns, before, after, changed, unchanged IS NOT NULL);
    IF outcome = '' THEN
        RETURN NULL;
    ELSIF outcome IS NULL THEN
        IF TG_OP <> 'DELETE' THEN
            after := "public".threadline_image_v1(NEW, rules);
        END IF;
        IF TG_OP <> 'INSERT' THEN
            before := "public".threadline_image_v1(OLD, rules);
        END IF;
        IF TG_OP = 'UPDATE' THEN
            changed := "public".threadline_differences_v1(OLD, NEW);
        END IF;
        outcome := "public".threadline_record_v1(rules, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP, TG_WHEN, command,
            :known_columns, before, after, changed, true);
    END IF;

    IF outcome <> '' THEN
        -- Two rows may live under a deferrable key: where one is deleted, the other one is the newest.
        IF TG_OP = 'DELETE' OR outcome = 'moved' THEN
            PERFORM "public".threadline_settle_v1(OLD, true, rules);
        END IF;
        IF TG_OP <> 'DELETE' THEN
            -- A version that was updated, deleted or locked already.
            IF NEW.xmax <> '0' THEN
                PERFORM "public".threadline_settle_v1(NEW, false, rules);
            END IF;
        END IF;
    END IF;
    RETURN NULL;
END
$threadline$);
