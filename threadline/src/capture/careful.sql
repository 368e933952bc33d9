        -- From here on the rows go into queries, which a log may show with their parameters: without the values that are
        -- excluded or masked. Of these, only what the images need is kept.
        changed := NULL;
        unchanged := '{}';
        hidden_before := '{}';
        hidden_after := '{}';
        :hidden
        IF TG_OP = 'UPDATE' THEN
            EXECUTE format('SELECT %s FROM (SELECT $1 AS o, $2 AS n OFFSET 0) p', :storage.threadline_differences_sql_v1(TG_RELID, '(p.o)'::text, '(p.n)'::text))
                INTO visible USING old_row, new_row;
            changed := coalesce(changed, '{}') || visible;
            -- What is stored only when it changes is not even looked at: a large document beside a counter costs nothing.
            unchanged := :storage.threadline_unchanged_v1(rules, changed);
        END IF;
        EXECUTE :storage.threadline_images_query_v1(TG_RELID, rules, TG_OP, unchanged) INTO before, after USING old_row, new_row;
        before := before || hidden_before;
        after := after || hidden_after;
