-- The log goes in one piece or not at all: not while a table is still captured, and not while it holds anything, unless
-- the session says so (PGOPTIONS='-c threadline.drop_log=yes'). Diesel shows messages and no hints.
DO $$
DECLARE
    captured text;
BEGIN
    SELECT string_agg(t.tgrelid::regclass::text, ', ') INTO captured
    FROM pg_catalog.pg_trigger t
    WHERE t.tgname ~ '^!threadline(_insert)?$' AND t.tgparentid = 0;
    IF captured IS NOT NULL THEN
        RAISE EXCEPTION E'threadline: still captured: %\nRevert the capture migrations of these tables first.', captured;
    END IF;
    IF coalesce(current_setting('threadline.drop_log', true), '') <> 'yes'
        AND (EXISTS (SELECT FROM public.audit_changes) OR EXISTS (SELECT FROM public.audit_actions))
    THEN
        RAISE EXCEPTION E'threadline: the audit log is not empty and stays\nExport it first; then revert with PGOPTIONS=''-c threadline.drop_log=yes''.';
    END IF;
END $$;

DROP EVENT TRIGGER IF EXISTS threadline_ddl_end;
DROP EVENT TRIGGER IF EXISTS threadline_ddl_drop;
DROP FUNCTION public.threadline_arm_ddl_guard_v1(oid);
DROP FUNCTION public.threadline_ddl_drop();
DROP FUNCTION public.threadline_ddl_end();
DROP FUNCTION public.threadline_guard_ddl_v1(text, oid[]);
DROP FUNCTION public.threadline_touched_v1(oid[]);

DROP FUNCTION public.threadline_revert_within_v1(json, bigint[]);
DROP FUNCTION public.threadline_revert_judged_v1(json);
DROP FUNCTION public.threadline_run_v1(text[]);
DROP FUNCTION public.threadline_revert(uuid, bigint, boolean, bigint[]);
DROP FUNCTION public.threadline_undone_v1(public.audit_tables, jsonb[], bigint[], boolean[], jsonb[], jsonb[], jsonb[], boolean, boolean);
DROP FUNCTION public.threadline_referring_v1(public.audit_tables, jsonb[]);
DROP FUNCTION public.threadline_restorable(text[], jsonb);
DROP FUNCTION public.threadline_orphaned_v1(public.audit_tables, jsonb[], jsonb[]);
DROP FUNCTION public.threadline_taken_v1(public.audit_tables, jsonb[], jsonb[], jsonb[]);
DROP FUNCTION public.threadline_unique_keys_v1(regclass);
DROP FUNCTION public.threadline_foreign_keys_v1();
DROP FUNCTION public.threadline_since(public.audit_tables, jsonb[], bigint[], jsonb[], jsonb[]);
DROP FUNCTION public.threadline_net(uuid, bigint, bigint[]);
DROP FUNCTION public.threadline_alive(integer, bigint);
DROP FUNCTION public.threadline_live(public.audit_tables, jsonb[], boolean);
DROP FUNCTION public.threadline_differs_v1(text[]);
DROP FUNCTION public.threadline_same_key_v1(text[]);
DROP FUNCTION public.threadline_named(jsonb, jsonb);
DROP FUNCTION public.threadline_records_of(anyelement, jsonb);
DROP FUNCTION public.threadline_holds_one_of(jsonb, jsonb[]);
DROP FUNCTION public.threadline_values(regclass, text, anyelement);
DROP FUNCTION public.threadline_names(regclass, text);
DROP FUNCTION public.threadline_earlier(public.audit_changes);

DROP FUNCTION public.threadline_never_v1(regclass, timestamptz);
DROP FUNCTION public.threadline_judged_v1(public.audit_changes, regclass, jsonb);
DROP FUNCTION public.threadline_moment_without_scope_v1(regclass[]);
DROP FUNCTION public.threadline_without_scope_v1(regclass);
DROP FUNCTION public.threadline_without_scope_v1(text, text);
DROP FUNCTION public.threadline_scope_required_v1();
DROP FUNCTION public.threadline_had_or_has_v1(public.audit_changes, text, text);
DROP FUNCTION public.threadline_seen_on_standby_v1(xid, uuid, pg_snapshot, bigint);
DROP FUNCTION public.threadline_walk_goes_on_v1(bigint, pg_snapshot);
DROP FUNCTION public.threadline_standby_snapshot_v1(pg_snapshot);
DROP FUNCTION public.threadline_run_v1();
DROP FUNCTION public.threadline_seen_v1(xid, uuid, pg_snapshot);
DROP FUNCTION public.threadline_applied_in_savepoints_v1();
DROP FUNCTION public.threadline_unseen_v1();
DROP FUNCTION public.threadline_walk_v1(text, text, integer[], text, text, timestamptz, timestamptz, text, bigint);
DROP FUNCTION public.threadline_key_places_v1(text, text, jsonb);
DROP FUNCTION public.threadline_check_field_v1(text, text, text);
DROP FUNCTION public.threadline_tables_v1(text, text);
DROP INDEX public.audit_actions_request;
DROP INDEX public.audit_transactions_request;

DROP FUNCTION public.threadline_settled(timestamptz);
DROP FUNCTION public.threadline_numbered_here_v1(uuid);
DROP FUNCTION public.threadline_at(timestamptz, text[]);
DROP FUNCTION public.threadline_moment(anyelement, regclass, timestamptz, jsonb, text[]);
DROP FUNCTION public.threadline_moment_query(regclass, timestamptz, jsonb, text[], boolean);
DROP FUNCTION public.threadline_row_query(regclass, public.audit_tables, timestamp with time zone, jsonb, text[], boolean, text);
DROP FUNCTION public.threadline_row(anyelement, regclass, bigint, jsonb, text[], jsonb);
DROP FUNCTION public.threadline_known_at(regclass, timestamptz);
DROP FUNCTION public.threadline_late(timestamptz);

DROP FUNCTION public.threadline_images(jsonb, text);
DROP FUNCTION public.threadline_decode(anyelement, regclass, jsonb, jsonb);
DROP FUNCTION public.threadline_decode(anyelement, jsonb, jsonb);
DROP FUNCTION public.threadline_recipe(regclass, jsonb);
DROP FUNCTION public.threadline_as_of(regclass, jsonb, timestamptz);
DROP FUNCTION public.threadline_state(public.audit_changes);
DROP FUNCTION public.threadline_whole(public.audit_changes);
DROP FUNCTION public.threadline_changes(regclass);
DROP FUNCTION public.threadline_history(regclass, jsonb);
DROP FUNCTION public.threadline_other_history(regclass, jsonb);
DROP FUNCTION public.threadline_was_there_v1(integer, jsonb[], bigint);
DROP FUNCTION public.threadline_previous(integer, jsonb[], bigint);
DROP FUNCTION public.threadline_keys(integer, jsonb);
DROP FUNCTION public.threadline_key(regclass, jsonb);
DROP FUNCTION public.threadline_table(regclass);
DROP FUNCTION public.threadline_unquoted_v1(jsonb);

DROP TRIGGER IF EXISTS threadline_end_gap ON public.audit_tables;
DO $$
DECLARE
    guard record;
BEGIN
    FOR guard IN
        SELECT t.tgrelid::regclass AS relation, t.tgname AS name FROM pg_trigger t
        WHERE t.tgparentid = 0 AND t.tgfoid IN ('public.threadline_guard_v1()'::regprocedure, 'public.threadline_guard_insert_v1()'::regprocedure)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', guard.name, guard.relation);
    END LOOP;
END $$;

DROP FUNCTION public.threadline_end_gap_v1();
DROP FUNCTION public.threadline_bypass_v1(integer, text, text);
DROP FUNCTION public.threadline_protect_v1();
DROP FUNCTION public.threadline_protect_v1(text);
DROP FUNCTION public.threadline_rights_v1();
DROP FUNCTION public.threadline_meant_for_v1(oid);
DROP FUNCTION public.threadline_guard_tables_v1();
DROP FUNCTION public.threadline_log_tables_v1();
DROP FUNCTION public.threadline_guard_insert_v1();
DROP FUNCTION public.threadline_guard_v1();

DROP FUNCTION public.threadline_detach(regclass);
DROP FUNCTION public.threadline_note(regclass);
DROP FUNCTION public.threadline_note_v1(regclass, integer, timestamptz);
DROP FUNCTION public.threadline_write_entry_v1(public.audit_tables);
DROP FUNCTION public.threadline_release(regclass);
DROP FUNCTION public.threadline_release_v1(regclass, text, text);
DROP FUNCTION public.threadline_capture_v1(regclass, text, text[], jsonb, text[], jsonb, text, text, text);
DROP FUNCTION public.threadline_changing_v1(integer);
DROP FUNCTION public.threadline_check_readable_v1(regclass, oid);
DROP FUNCTION public.threadline_attached_v1(regclass);
DROP FUNCTION public.threadline_triggers_v1(regclass, jsonb);
DROP FUNCTION public.threadline_bound_body_v1(regclass, jsonb, text[], text[], text[], text);
DROP FUNCTION public.threadline_is_special_v1(jsonb);
DROP FUNCTION public.threadline_special_images_v1(jsonb);

DROP FUNCTION public.threadline_entry(regclass);
DROP FUNCTION public.threadline_altered_sql_v1(jsonb, timestamptz);
DROP FUNCTION public.threadline_entry_of_v1(integer);
DROP FUNCTION public.threadline_known_v1(jsonb, jsonb, jsonb, jsonb, timestamptz, timestamptz);
DROP FUNCTION public.threadline_is_altered_v1(jsonb);
DROP FUNCTION public.threadline_noted_v1(public.audit_tables, regclass, timestamptz);
DROP FUNCTION public.threadline_entry_v1(regclass, integer, timestamptz);
DROP FUNCTION public.threadline_replicated_v1();
DROP FUNCTION public.threadline_drift_v1(jsonb, jsonb, text[]);
DROP FUNCTION public.threadline_identity_v1(regclass);

DROP FUNCTION public.threadline_check_statement_level_v1(regclass);
DROP FUNCTION public.threadline_is_captured_v1(oid);
DROP FUNCTION public.threadline_bound_rules_v1(regclass, text[], jsonb);
DROP FUNCTION public.threadline_as_text_v1(oid);
DROP FUNCTION public.threadline_added_columns_v1(regclass, text[]);
DROP FUNCTION public.threadline_check_redaction_v1(regclass, text[], text[]);
DROP FUNCTION public.threadline_checked_key_v1(regclass, text[]);
DROP FUNCTION public.threadline_key_type_v1(oid, integer, oid);

DROP FUNCTION public.threadline_truncate_v1(jsonb, regclass, text);
DROP FUNCTION public.threadline_record_gone_v1(jsonb, regclass);
DROP FUNCTION public.threadline_rows_query_v1(text, text, jsonb);
DROP FUNCTION public.threadline_recheck_v1(jsonb, jsonb, jsonb);
DROP FUNCTION public.threadline_current_image_v1(jsonb, jsonb);
DROP FUNCTION public.threadline_may_read_v1(oid);
DROP FUNCTION public.threadline_key_condition_v1(oid, jsonb, jsonb);
DROP FUNCTION public.threadline_base_type_v1(oid);
DROP FUNCTION public.threadline_differences_sql_v1(oid, text, text);
DROP FUNCTION public.threadline_images_query_v1(oid, jsonb, text, text[]);
DROP FUNCTION public.threadline_image_sql_v1(oid, jsonb, text, text[]);
DROP FUNCTION public.threadline_type_parts_v1(oid);
DROP FUNCTION public.threadline_json_v1(text, text);
DROP FUNCTION public.threadline_verify_columns_v1(oid, jsonb, text[], text[]);
DROP FUNCTION public.threadline_admit_v1(jsonb, oid, text, text, text, text);
DROP FUNCTION public.threadline_verify_v1(oid, text, text);
DROP FUNCTION public.threadline_quoted_v1(jsonb);

DROP FUNCTION public.threadline_record_rows_v1(jsonb, text, bigint[], jsonb[], jsonb[], jsonb[]);
DROP FUNCTION public.threadline_unchanged_v1(jsonb, text[]);
DROP FUNCTION public.threadline_columns_of_v1(jsonb);
DROP FUNCTION public.threadline_record_v1(jsonb, oid, text, text, text, text, text[], jsonb, jsonb, text[], boolean, xid);
DROP FUNCTION public.threadline_key_v1(jsonb, text, jsonb);
DROP FUNCTION public.threadline_key_of_v1(jsonb, jsonb);
DROP FUNCTION public.threadline_list_v1(jsonb, text);
DROP FUNCTION public.threadline_is_marked_v1(jsonb);
DROP FUNCTION public.threadline_masked_v1(jsonb, jsonb);

DROP TRIGGER IF EXISTS threadline_require_changes ON public.audit_actions;

DROP FUNCTION public.threadline_require_changes_v1();
DROP FUNCTION public.threadline_record_action_v1(text, jsonb, text, text, text, text, text, text, text, text, boolean);
DROP FUNCTION public.threadline_transaction_v1();
DROP FUNCTION public.threadline_has_row_v1(uuid);

DROP TRIGGER IF EXISTS threadline_seal ON public.audit_transactions;
DROP TRIGGER IF EXISTS threadline_seal ON public.audit_commits;

DROP FUNCTION public.threadline_sealed_v1();
DROP FUNCTION public.threadline_seal_v1();
DROP FUNCTION public.threadline_enter_v1(uuid, text, text, text, text);
DROP FUNCTION public.threadline_is_open_v1(uuid, text, text, text);
DROP FUNCTION public.threadline_place_v1(text);
DROP FUNCTION public.threadline_action_id_v1(uuid, integer);
DROP FUNCTION public.threadline_meta_v1(text);
DROP FUNCTION public.threadline_actor_v1(text);
DROP FUNCTION public.threadline_transaction_id_v1();

DROP TABLE public.audit_commits;
DROP TABLE public.audit_actions;
DROP TABLE public.audit_changes;
DROP TABLE public.audit_transactions;
DROP TABLE public.audit_tables;
DROP FUNCTION public.threadline_check_place_v1(oid[]);
