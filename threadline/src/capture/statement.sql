    rules CONSTANT jsonb := :rules;
    phase text := TG_OP;
    olds refcursor;
    news refcursor;
    o record;
    n record;
    place bigint;
    written bigint;
    more boolean;
    failed boolean := false;
    careful boolean;
    old_row record;
    new_row record;
    before jsonb;
    after jsonb;
    changed text[];
    visible text[];
    unchanged text[];
    hidden_before jsonb;
    hidden_after jsonb;
    recorded record;
    outcome text;
    inexact bigint[] := '{}';
    moved boolean := false;
BEGIN
    IF NOT :storage.threadline_admit_v1(rules, TG_RELID, TG_TABLE_SCHEMA::text, TG_TABLE_NAME::text, TG_OP, TG_WHEN) THEN
        RETURN NULL;
    END IF;
    LOOP
        -- Transition tables keep the two versions of a row in the same place. Their names are no column's.
        IF TG_OP = 'INSERT' THEN
            SELECT NULL:::relation AS version INTO o;
        ELSE
            OPEN olds FOR SELECT "!old":::relation AS version FROM old_rows "!old";
        END IF;
        IF TG_OP = 'DELETE' THEN
            SELECT NULL:::relation AS version INTO n;
        ELSE
            OPEN news FOR SELECT "!new":::relation AS version FROM new_rows "!new";
        END IF;
        place := 0;
        more := true;
        LOOP
            DECLARE
                places bigint[];
                befores jsonb[];
                afters jsonb[];
                changes jsonb[];
            BEGIN
                LOOP
                    -- Nothing is written in this block: a subtransaction that writes takes a transaction id.
                    BEGIN
                        LOOP
                            IF failed THEN
                                old_row := coalesce(o.version, n.version);
                                new_row := coalesce(n.version, o.version);
:careful
                                failed := false;
                                careful := true;
                            ELSE
                                IF TG_OP <> 'INSERT' THEN
                                    FETCH olds INTO o;
                                    more := FOUND;
                                END IF;
                                IF TG_OP <> 'DELETE' THEN
                                    FETCH news INTO n;
                                    more := FOUND;
                                END IF;
                                EXIT WHEN NOT more;
                                place := place + 1;
                                CONTINUE WHEN o.version *= n.version OR phase = 'INEXACT' AND place <> ALL (inexact);
                                changed := NULL;
                                careful := false;
                                failed := phase = 'INEXACT' OR NOT :special AND greatest(pg_column_size(o.version), pg_column_size(n.version)) > :max_value_bytes;
                                CONTINUE WHEN failed;
                                IF :special THEN
                                    old_row := coalesce(o.version, n.version);
                                    new_row := coalesce(n.version, o.version);
:images
                                ELSE
                                    before := to_jsonb(o.version);
                                    after := to_jsonb(n.version);
                                END IF;
                                failed := coalesce(greatest(pg_column_size(before), pg_column_size(after)) > :max_value_bytes, true)
                                    OR :storage.threadline_is_marked_v1(before) OR :storage.threadline_is_marked_v1(after);
                                CONTINUE WHEN failed;
                            END IF;
                            places := array_append(places, place);
                            befores := array_append(befores, before);
                            afters := array_append(afters, after);
                            changes := array_append(changes, to_jsonb(changed));
                            EXIT WHEN cardinality(places) = 500;
                        END LOOP;
                        EXIT;
                    EXCEPTION WHEN OTHERS THEN
                        IF failed THEN
                            RAISE;
                        END IF;
                        failed := true; -- what to_jsonb() can't make is made column by column
                    END;
                END LOOP;
                EXIT WHEN places IS NULL;
                IF NOT more AND phase = TG_OP AND cardinality(places) = 1 THEN
                    -- A single row, as at row level: the query for many takes longer to set up than all of that.
                    outcome := :storage.threadline_record_v1(rules, TG_RELID, TG_TABLE_SCHEMA::text, TG_TABLE_NAME::text, TG_OP, TG_WHEN,
                        :known_columns, befores[1], afters[1], changed, careful, NULL::xid);
                    IF outcome IS NULL THEN
                        inexact := inexact || places;
                    END IF;
                    EXIT;
                END IF;
                IF rules ? 'redacted' THEN
                    IF coalesce(afters[1], befores[1]) - :known_columns <> '{}' THEN
                        PERFORM :storage.threadline_verify_columns_v1(TG_RELID, rules, :storage.threadline_columns_of_v1(coalesce(afters[1], befores[1])), :known_columns);
                    END IF;
                END IF;
                recorded := :storage.threadline_record_rows_v1(rules, CASE phase WHEN 'INEXACT' THEN 'UPDATE'::text ELSE phase END, places, befores, afters, changes);
                moved := moved OR recorded.moved;
                inexact := inexact || recorded.inexact;
                EXIT WHEN NOT more;
            END;
        END LOOP;
        IF TG_OP <> 'INSERT' THEN
            CLOSE olds;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            CLOSE news;
        END IF;
        written := place;
        phase := CASE
            WHEN phase = 'UPDATE' AND inexact <> '{}' THEN 'INEXACT' -- rows whose images don't show what changed
            WHEN phase IN ('UPDATE', 'INEXACT') AND moved THEN 'MOVE' -- rows whose key changed, under their new one
        END;
        EXIT WHEN phase IS NULL;
    END LOOP;

    -- Another command of this transaction may have written to the same rows and been recorded before. The counters are
    -- PostgreSQL's own. They may show too much, but never too little. Only where a row differs, images are made. OFFSET keeps
    -- each row's look at the index: a join's plan would be kept from statements of one row for those of many, or the other way.
    IF moved OR TG_OP = 'UPDATE' AND outcome = 'left' THEN
        EXECUTE :storage.threadline_rows_query_v1('gone'::text, TG_OP, rules) USING rules;
        EXECUTE :storage.threadline_rows_query_v1('kept'::text, TG_OP, rules) USING rules;
    ELSIF TG_OP = 'DELETE' THEN
        IF current_setting('track_counts') = 'off' OR pg_stat_get_xact_tuples_inserted(TG_RELID) + pg_stat_get_xact_tuples_updated(TG_RELID) > 0 THEN
            IF EXISTS (SELECT FROM (SELECT "!old":::relation AS version FROM old_rows "!old" OFFSET 0) r
                WHERE EXISTS (SELECT FROM :relation t WHERE :version_key OFFSET 0))
            THEN
                EXECUTE :storage.threadline_rows_query_v1('gone'::text, TG_OP, rules) USING rules;
            END IF;
        END IF;
    ELSIF current_setting('track_counts') = 'off'
        OR pg_stat_get_xact_tuples_updated(TG_RELID) + pg_stat_get_xact_tuples_deleted(TG_RELID) > (CASE TG_OP WHEN 'UPDATE' THEN written ELSE 0 END)
    THEN
        IF EXISTS (SELECT FROM (SELECT "!new":::relation AS version FROM new_rows "!new" OFFSET 0) r
            WHERE NOT EXISTS (SELECT FROM :relation t WHERE :version_key AND t.* *= r.version OFFSET 0))
        THEN
            EXECUTE :storage.threadline_rows_query_v1('kept'::text, TG_OP, rules) USING rules;
        END IF;
    END IF;
    RETURN NULL;
END
