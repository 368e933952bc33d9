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
                changed := :storage.threadline_differences_v1(OLD, NEW);
                unchanged := :storage.threadline_unchanged_v1(rules, changed);
            END IF;
            command := NEW.cmin;
            IF unchanged IS NOT NULL THEN
                -- Not even looked at: a large document beside a counter costs nothing.
                after := :storage.threadline_image_v1(jsonb_populate_record(NEW, unchanged), rules);
                before := :storage.threadline_image_v1(jsonb_populate_record(OLD, unchanged), rules);
            ELSIF greatest(pg_column_size(NEW), pg_column_size(OLD)) <= :max_value_bytes THEN
                after := to_jsonb(NEW);
                before := to_jsonb(OLD);
            END IF;
        ELSIF TG_OP = 'INSERT' THEN
            command := NEW.cmin;
            after := CASE WHEN pg_column_size(NEW) <= :max_value_bytes THEN to_jsonb(NEW) END;
        ELSIF TG_OP = 'DELETE' THEN
            -- The number of a command is only in the row's place for it where the row is older than the transaction.
            command := CASE WHEN age(OLD.xmin) > age(pg_current_xact_id()::xid) THEN OLD.cmax END;
            before := CASE WHEN pg_column_size(OLD) <= :max_value_bytes THEN to_jsonb(OLD) END;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        before := NULL; -- and so both are made column by column
        unchanged := NULL;
    END;
    outcome := :storage.threadline_record_v1(rules, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP, TG_WHEN, command,
        :known_columns, before, after, changed, unchanged IS NOT NULL);
    IF outcome = '' THEN
        RETURN NULL;
    ELSIF outcome IS NULL THEN
        IF TG_OP <> 'DELETE' THEN
            after := :storage.threadline_image_v1(NEW, rules);
        END IF;
        IF TG_OP <> 'INSERT' THEN
            before := :storage.threadline_image_v1(OLD, rules);
        END IF;
        IF TG_OP = 'UPDATE' THEN
            changed := :storage.threadline_differences_v1(OLD, NEW);
        END IF;
        outcome := :storage.threadline_record_v1(rules, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP, TG_WHEN, command,
            :known_columns, before, after, changed, true);
    END IF;

    IF outcome <> '' THEN
        -- Two rows may live under a deferrable key: where one is deleted, the other one is the newest.
        IF TG_OP = 'DELETE' OR outcome = 'moved' THEN
            PERFORM :storage.threadline_settle_v1(OLD, true, rules);
        END IF;
        IF TG_OP <> 'DELETE' THEN
            -- A version that was updated, deleted or locked already.
            IF NEW.xmax <> '0' THEN
                PERFORM :storage.threadline_settle_v1(NEW, false, rules);
            END IF;
        END IF;
    END IF;
    RETURN NULL;
END
