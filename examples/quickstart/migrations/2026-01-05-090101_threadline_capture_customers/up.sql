-- threadline: capture customers
-- fingerprint: b627ee74dcfbf153
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
    fingerprint => 'b627ee74dcfbf153',
    lock_timeout => '2s',
    body => $threadline$
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
        IF NOT :special AND greatest(pg_column_size(OLD), pg_column_size(NEW)) <= 1000000 THEN
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
    outcome := "public".threadline_record_v1(:rules, TG_RELID, TG_TABLE_SCHEMA::text, TG_TABLE_NAME::text, TG_OP, TG_WHEN,
        :known_columns, before, after, changed, false, NEW.xmax);
    IF outcome = '' THEN
        RETURN NEW;
    END IF;
    IF outcome IS NULL THEN
        rules := :rules;
        old_row := coalesce(OLD, NEW);
        new_row := coalesce(NEW, OLD);
        -- From here on the rows go into queries, which a log may show with their parameters: without the values that are
        -- excluded or masked. Of these, only what the images need is kept.
        changed := NULL;
        unchanged := '{}';
        hidden_before := '{}';
        hidden_after := '{}';
        :hidden
        IF TG_OP = 'UPDATE' THEN
            EXECUTE format('SELECT %s FROM (SELECT $1 AS o, $2 AS n OFFSET 0) p', "public".threadline_differences_sql_v1(TG_RELID, '(p.o)'::text, '(p.n)'::text))
                INTO visible USING old_row, new_row;
            changed := coalesce(changed, '{}') || visible;
            -- What is stored only when it changes is not even looked at: a large document beside a counter costs nothing.
            unchanged := "public".threadline_unchanged_v1(rules, changed);
        END IF;
        EXECUTE "public".threadline_images_query_v1(TG_RELID, rules, TG_OP, unchanged) INTO before, after USING old_row, new_row;
        before := before || hidden_before;
        after := after || hidden_after;
        outcome := "public".threadline_record_v1(rules, TG_RELID, TG_TABLE_SCHEMA::text, TG_TABLE_NAME::text, TG_OP, TG_WHEN,
            :known_columns, before, after, changed, true, NEW.xmax);
    END IF;

    -- A version that was superseded already, by a trigger or a function that wrote in between, may be recorded after what
    -- superseded it. xmax is set by a mere lock too: then the version is still there.
    IF NEW.xmax <> '0' THEN
        IF NOT "public".threadline_may_read_v1(TG_RELID) THEN
            rechecked := "public".threadline_recheck_v1(:rules, after, after);
        ELSIF NOT EXISTS (SELECT FROM :relation t WHERE t.ctid = NEW.ctid AND t.tableoid = TG_RELID) THEN
            rechecked := "public".threadline_recheck_v1(:rules, after, after);
        END IF;
    END IF;
    -- The key that a row left may have been taken again.
    IF outcome = 'left' THEN
        IF NOT "public".threadline_may_read_v1(TG_RELID) THEN
            rechecked := "public".threadline_recheck_v1(:rules, before, NULL::jsonb);
        ELSE
            -- A row that the same command wrote under a key which is unique at any time took it after this row left, and is
            -- recorded after it. cmax is the command's number if an older transaction wrote the version.
            command := CASE WHEN :immediate AND age(OLD.xmin) > age(pg_current_xact_id()::xid) THEN OLD.cmax END;
            IF EXISTS (SELECT FROM :relation t WHERE :same_key
                AND (t.cmin = command AND t.xmax = '0' AND age(t.xmin) <= age(pg_current_xact_id()::xid)) IS NOT TRUE)
            THEN
                rechecked := "public".threadline_recheck_v1(:rules, before, NULL::jsonb);
            END IF;
        END IF;
    END IF;
    RETURN NEW;
END
$threadline$);
