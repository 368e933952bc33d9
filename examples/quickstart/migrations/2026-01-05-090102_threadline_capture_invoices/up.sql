-- threadline: capture invoices
-- fingerprint: a19a57125e3fcac2
-- columns: id
-- storage: public

SELECT "public".threadline_capture_v1(
    relation => to_regclass('"invoices"'),
    target => 'invoices',
    key_columns => '{"id"}',
    rules => '{"max_value_bytes":1000000,"require_actor":"any","store_changed_from":true}',
    former_names => '{}',
    former_columns => '{}',
    fingerprint => 'a19a57125e3fcac2',
    lock_timeout => '2s',
    body => $threadline$
    before jsonb;
    after jsonb;
    changed text[];
    unchanged jsonb;
    -- A version's place for a command has its number only while one command of this transaction wrote it. That of a version
    -- that was superseded is not known, and that of a deleted one only if it is older than the transaction.
    command CONSTANT text := CASE WHEN TG_OP <> 'DELETE' THEN CASE WHEN NEW.xmax = '0' THEN NEW.cmin::text END
        WHEN age(OLD.xmin) > age(pg_current_xact_id()::xid) THEN 'd' || OLD.cmax ELSE 'd' END;
    outcome text;
BEGIN
    -- Few expressions: every table has a plan of each, in every connection.
    IF NEW *= OLD THEN
        RETURN NULL;
    ELSIF (rules ? 'as_text' OR TG_OP = 'UPDATE' AND rules ?| '{inexact,on_change}') IS FALSE
        AND greatest(pg_column_size(OLD), pg_column_size(NEW)) <= 1000000
    THEN
        BEGIN
            before := to_jsonb(OLD);
            after := to_jsonb(NEW);
        EXCEPTION WHEN OTHERS THEN
            before := NULL; -- and so both are made column by column
        END;
    END IF;
    outcome := "public".threadline_record_v1(rules, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP, TG_WHEN, command,
        :known_columns, before, after, NULL, false);
    IF outcome = '' THEN
        RETURN NULL;
    ELSIF outcome IS NULL THEN
        IF TG_OP = 'UPDATE' THEN
            changed := "public".threadline_differences_v1(OLD, NEW);
            unchanged := "public".threadline_unchanged_v1(rules, changed);
        END IF;
        -- What is stored only when it changes is not even looked at: a large document beside a counter costs nothing.
        IF TG_OP <> 'INSERT' THEN
            before := "public".threadline_image_v1(jsonb_populate_record(OLD, coalesce(unchanged, '{}')), rules);
        END IF;
        IF TG_OP <> 'DELETE' THEN
            after := "public".threadline_image_v1(jsonb_populate_record(NEW, coalesce(unchanged, '{}')), rules);
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
