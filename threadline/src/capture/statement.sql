    -- Rows whose images don't show everything are looked at themselves.
    careful boolean := rules ?| '{inexact,on_change,as_text}';
    phase text := TG_OP;
    -- No number of the command is to be had. Another one of the same statement comes later.
    command CONSTANT text := clock_timestamp();
    pairs refcursor;
    pair record;
    more boolean;
    before jsonb[];
    after jsonb[];
    changes jsonb[];
    outcome text := '';
BEGIN
    IF NOT :storage.threadline_admit_v1(rules, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP, TG_WHEN) THEN
        RETURN NULL;
    END IF;
    LOOP
        BEGIN
            -- Transition tables keep the two versions of a row in the same place. Their names are no column's. A full join is never a nested loop, which
            -- the plan of a statement of one row would keep for those of many.
            IF careful THEN
                OPEN pairs FOR EXECUTE :storage.threadline_rows_query_v1('pairs', TG_OP, rules) USING rules;
            ELSIF TG_OP = 'INSERT' THEN
                OPEN pairs FOR SELECT NULL::jsonb AS before, to_jsonb("!new") AS after, NULL::jsonb AS changed, pg_column_size("!new") AS bytes FROM new_rows "!new";
            ELSIF TG_OP = 'DELETE' THEN
                OPEN pairs FOR SELECT to_jsonb("!old") AS before, NULL::jsonb AS after, NULL::jsonb AS changed, pg_column_size("!old") AS bytes FROM old_rows "!old";
            ELSE
                OPEN pairs FOR SELECT to_jsonb(p.o) AS before, to_jsonb(p.n) AS after, NULL::jsonb AS changed,
                        greatest(pg_column_size(p.o), pg_column_size(p.n)) AS bytes
                    FROM (SELECT o.version AS o, n.version AS n
                          FROM (SELECT row_number() OVER () AS i, "!old" AS version FROM old_rows "!old") o
                          FULL JOIN (SELECT row_number() OVER () AS i, "!new" AS version FROM new_rows "!new") n USING (i) OFFSET 0) p
                    WHERE p.o *<> p.n;
            END IF;
            LOOP
                FETCH pairs INTO pair;
                more := FOUND;
                IF more THEN
                    IF NOT careful THEN
                        IF greatest(pair.bytes, pg_column_size(pair.before), pg_column_size(pair.after)) > :max_value_bytes THEN
                            PERFORM :storage.threadline_inexact_v1();
                        END IF;
                    END IF;
                    before := array_append(before, pair.before);
                    after := array_append(after, pair.after);
                    changes := array_append(changes, pair.changed);
                END IF;
                IF NOT more AND NOT careful AND outcome = '' AND phase = TG_OP AND cardinality(changes) = 1 THEN
                    -- A single row, as at row level: the query for many takes longer to set up than all of that.
                    outcome := replace(coalesce(:storage.threadline_record_v1(rules, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP, TG_WHEN, command,
                        :known_columns, before[1], after[1], NULL, false), :storage.threadline_inexact_v1()::text), 'moved', 'overtaken');
                ELSIF changes IS NOT NULL AND (NOT more OR cardinality(changes) = 500) THEN
                    IF rules ? 'redacted' THEN
                        IF coalesce(after[1], before[1]) - :known_columns <> '{}' THEN
                            PERFORM :storage.threadline_verify_columns_v1(TG_RELID, rules, coalesce(after[1], before[1]), :known_columns);
                        END IF;
                    END IF;
                    outcome := greatest(outcome, :storage.threadline_record_rows_v1(rules, phase, command, before, after, changes));
                    before := NULL;
                    after := NULL;
                    changes := NULL;
                END IF;
                EXIT WHEN NOT more;
            END LOOP;
            CLOSE pairs;
            EXIT WHEN phase <> 'UPDATE' OR outcome NOT LIKE '%moved';
            phase := 'MOVE'; -- the rows whose key changed, under their new one
        EXCEPTION WHEN OTHERS THEN
            IF careful THEN
                RAISE;
            END IF;
            careful := true;
            phase := TG_OP;
            outcome := '';
            pairs := NULL;
            before := NULL;
            after := NULL;
            changes := NULL;
        END;
    END LOOP;

    -- Two rows may live under a deferrable key: where one is gone, the other one is the newest.
    IF outcome LIKE 'overtaken%' AND TG_OP <> 'INSERT' THEN
        EXECUTE :storage.threadline_rows_query_v1('gone', TG_OP, rules) USING rules;
    END IF;
    -- A foreign key within the table adds its rows to the statement's: a row that it found under its new key was recorded before
    -- that key was.
    IF (outcome LIKE 'overtaken%' OR phase = 'MOVE') AND TG_OP <> 'DELETE' THEN
        EXECUTE :storage.threadline_rows_query_v1('kept', TG_OP, rules) USING rules;
    END IF;
    RETURN NULL;
END
