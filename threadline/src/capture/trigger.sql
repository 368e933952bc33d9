    rules jsonb;
    before jsonb;
    after jsonb;
    changed text[];
    visible text[];
    unchanged text[];
    old_row record;
    new_row record;
    hidden_before jsonb;
    hidden_after jsonb;
    outcome text;
    command cid;
    rechecked text; -- assigned: PERFORM makes a query, which a log may show with the images
BEGIN
    -- Few expressions as a rule: every table has a plan of each, in every connection. The rules are a constant, so that what is
    -- asked of them is known when the plan is made.
    IF NEW *= OLD THEN
        RETURN NEW;
    END IF;
    BEGIN
        IF NOT :special AND greatest(pg_column_size(OLD), pg_column_size(NEW)) <= :max_value_bytes THEN
            before := to_jsonb(OLD);
            after := to_jsonb(NEW);
        ELSIF :special THEN
            old_row := coalesce(OLD, NEW);
            new_row := coalesce(NEW, OLD);
:images
        END IF;
    EXCEPTION WHEN OTHERS THEN
        before := NULL; -- and so both are made column by column
        after := NULL;
        changed := NULL;
    END;
    outcome := :storage.threadline_record_v1(:rules, TG_RELID, TG_TABLE_SCHEMA::text, TG_TABLE_NAME::text, TG_OP, TG_WHEN,
        :known_columns, before, after, changed, false, NEW.xmax);
    IF outcome = '' THEN
        RETURN NEW;
    END IF;
    IF outcome IS NULL THEN
        rules := :rules;
        old_row := coalesce(OLD, NEW);
        new_row := coalesce(NEW, OLD);
:careful
        outcome := :storage.threadline_record_v1(rules, TG_RELID, TG_TABLE_SCHEMA::text, TG_TABLE_NAME::text, TG_OP, TG_WHEN,
            :known_columns, before, after, changed, true, NEW.xmax);
    END IF;

    -- A version that was superseded already, by a trigger or a function that wrote in between, may be recorded after what
    -- superseded it. xmax is set by a mere lock too: then the version is still there.
    IF NEW.xmax <> '0' THEN
        IF NOT :storage.threadline_may_read_v1(TG_RELID) THEN
            rechecked := :storage.threadline_recheck_v1(:rules, after, after);
        ELSIF NOT EXISTS (SELECT FROM :relation t WHERE t.ctid = NEW.ctid AND t.tableoid = TG_RELID) THEN
            rechecked := :storage.threadline_recheck_v1(:rules, after, after);
        END IF;
    END IF;
    -- The key that a row left may have been taken again.
    IF outcome = 'left' THEN
        IF NOT :storage.threadline_may_read_v1(TG_RELID) THEN
            rechecked := :storage.threadline_recheck_v1(:rules, before, NULL::jsonb);
        ELSE
            -- A row that the same command wrote under a key which is unique at any time took it after this row left, and is
            -- recorded after it. cmax is the command's number if an older transaction wrote the version.
            command := CASE WHEN :immediate AND age(OLD.xmin) > age(pg_current_xact_id()::xid) THEN OLD.cmax END;
            IF EXISTS (SELECT FROM :relation t WHERE :same_key
                AND (t.cmin = command AND t.xmax = '0' AND age(t.xmin) <= age(pg_current_xact_id()::xid)) IS NOT TRUE)
            THEN
                rechecked := :storage.threadline_recheck_v1(:rules, before, NULL::jsonb);
            END IF;
        END IF;
    END IF;
    RETURN NEW;
END
