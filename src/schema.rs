//! The tables as Diesel sees them. Generated from `migrations/`; imported by `store` alone.

diesel::table! {
    projects (id) {
        id -> BigInt,
        name -> Text,
        prefix -> Text,
        next_number -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    tasks (id) {
        id -> BigInt,
        project_id -> BigInt,
        work_item_id -> Text,
        tracker -> Text,
        external_id -> Text,
        title -> Text,
        description -> Text,
        branch -> Text,
        stage -> Text,
        status -> Text,
        version -> BigInt,
        visit -> BigInt,
        stage_entered_at -> BigInt,
        developer_retries -> Integer,
        reason -> Nullable<Text>,
        candidate -> Nullable<Text>,
        code_tree -> Nullable<Text>,
        evidence -> Nullable<Text>,
        priority -> Integer,
        executor -> Nullable<Text>,
        modifies -> Text,
        tracker_state -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
        finished_at -> Nullable<BigInt>,
        pruned_at -> Nullable<BigInt>,
        batch -> Nullable<Text>,
        tracker_unseen -> Nullable<Text>,
        tracker_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    inbox (id) {
        id -> BigInt,
        source -> Text,
        delivery -> Text,
        digest -> Text,
        event -> Text,
        event_type -> Text,
        body -> Text,
        status -> Text,
        outcome -> Nullable<Text>,
        attempts -> Integer,
        available_at -> BigInt,
        received_at -> BigInt,
        settled_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    task_dependencies (task_id, depends_on) {
        task_id -> BigInt,
        depends_on -> BigInt,
    }
}

diesel::table! {
    jobs (id) {
        id -> BigInt,
        task_id -> BigInt,
        project_id -> BigInt,
        kind -> Text,
        role -> Nullable<Text>,
        stage -> Text,
        visit -> BigInt,
        task_version -> BigInt,
        status -> Text,
        priority -> Integer,
        available_at -> BigInt,
        attempts -> Integer,
        max_attempts -> Integer,
        transient_attempts -> Integer,
        max_transient_attempts -> Integer,
        claim_epoch -> BigInt,
        node -> Nullable<Text>,
        instance -> Nullable<Text>,
        claimed_at -> Nullable<BigInt>,
        finished_at -> Nullable<BigInt>,
        error -> Nullable<Text>,
        notes -> Nullable<Text>,
        dead_looks -> Integer,
        created_at -> BigInt,
        timeout_percent -> Integer,
        agent_node -> Nullable<Text>,
    }
}

diesel::table! {
    runs (id) {
        id -> BigInt,
        job_id -> BigInt,
        task_id -> BigInt,
        claim_epoch -> BigInt,
        monitor_epoch -> BigInt,
        role -> Nullable<Text>,
        agent -> Text,
        stage -> Text,
        visit -> BigInt,
        node -> Text,
        instance -> Text,
        step -> Text,
        start_sha -> Nullable<Text>,
        start_tree -> Nullable<Text>,
        end_sha -> Nullable<Text>,
        end_tree -> Nullable<Text>,
        wip_ref -> Nullable<Text>,
        shim -> Nullable<Text>,
        exit -> Nullable<Text>,
        error -> Nullable<Text>,
        tokens_in -> Nullable<BigInt>,
        tokens_out -> Nullable<BigInt>,
        tokens_cached -> Nullable<BigInt>,
        cost_micro_usd -> Nullable<BigInt>,
        provenance -> Nullable<Text>,
        started_at -> BigInt,
        finished_at -> Nullable<BigInt>,
        charged_micro_usd -> BigInt,
    }
}

diesel::table! {
    evidence (id) {
        id -> BigInt,
        task_id -> BigInt,
        gate -> Text,
        candidate -> Text,
        code_tree -> Text,
        patch_id -> Nullable<Text>,
        base -> Nullable<Text>,
        command -> Nullable<Text>,
        state -> Text,
        reason -> Text,
        run_id -> Nullable<BigInt>,
        visit -> BigInt,
        recorded_at -> BigInt,
    }
}

diesel::table! {
    gestures (id) {
        id -> BigInt,
        task_id -> BigInt,
        gesture -> Text,
        person -> Text,
        comment -> Nullable<Text>,
        stage -> Text,
        visit -> BigInt,
        candidate -> Nullable<Text>,
        effect -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    intents (id) {
        id -> BigInt,
        key -> Text,
        task_id -> BigInt,
        job_id -> Nullable<BigInt>,
        claim_epoch -> Nullable<BigInt>,
        kind -> Text,
        payload -> Text,
        status -> Text,
        outcome -> Nullable<Text>,
        created_at -> BigInt,
        finished_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    outbox (id) {
        id -> BigInt,
        task_id -> Nullable<BigInt>,
        cause -> Text,
        kind -> Text,
        payload -> Text,
        status -> Text,
        attempts -> Integer,
        available_at -> BigInt,
        error -> Nullable<Text>,
        created_at -> BigInt,
        sent_at -> Nullable<BigInt>,
        channel -> Text,
        unanswered -> Integer,
    }
}

diesel::table! {
    leases (repo) {
        repo -> Text,
        task_id -> Nullable<BigInt>,
        branch -> Nullable<Text>,
        instance -> Nullable<Text>,
        acquired_at -> Nullable<BigInt>,
        expires_at -> Nullable<BigInt>,
        token -> BigInt,
    }
}

diesel::table! {
    instances (id) {
        id -> Text,
        node -> Text,
        process -> Text,
        started_at -> BigInt,
        heartbeat_at -> BigInt,
        stopped_at -> Nullable<BigInt>,
        offers -> Nullable<Text>,
    }
}

diesel::table! {
    duties (name) {
        name -> Text,
        instance -> Text,
        expires_at -> BigInt,
        token -> BigInt,
    }
}

diesel::table! {
    healing_events (id) {
        id -> BigInt,
        at -> BigInt,
        kind -> Text,
        subject -> Text,
        why -> Text,
        action -> Text,
        stuck_us -> Nullable<BigInt>,
        instance -> Text,
    }
}

diesel::table! {
    pull_requests (id) {
        id -> BigInt,
        project_id -> BigInt,
        task_id -> BigInt,
        number -> BigInt,
        head_branch -> Text,
        base_branch -> Text,
        title -> Text,
        state -> Text,
        head_sha -> Text,
        merged_sha -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
        forge_number -> Nullable<BigInt>,
    }
}

diesel::table! {
    comments (id) {
        id -> BigInt,
        task_id -> BigInt,
        external_id -> Text,
        author -> Text,
        body -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    events (id) {
        id -> BigInt,
        at -> BigInt,
        task_id -> BigInt,
        kind -> Text,
        stage -> Text,
        text -> Text,
    }
}

diesel::table! {
    settings_state (key) {
        key -> Text,
        value -> Text,
    }
}

diesel::table! {
    incidents (id) {
        id -> BigInt,
        at -> BigInt,
        task_id -> BigInt,
        job_id -> BigInt,
        run_id -> BigInt,
        stage -> Text,
        role -> Nullable<Text>,
        node -> Text,
        strategy -> Text,
        fix -> Text,
        diagnosis -> Text,
        class -> Text,
        fingerprint -> Text,
        head -> Text,
        error -> Text,
        decision -> Text,
        outcome -> Nullable<Text>,
        outcome_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    node_states (node) {
        node -> Text,
        off_how -> Text,
        off_until -> BigInt,
        reason -> Text,
        since -> BigInt,
    }
}

diesel::table! {
    node_cuts (id) {
        id -> BigInt,
        node -> Text,
        until -> BigInt,
        reason -> Text,
    }
}

diesel::table! {
    retry_scopes (scope) {
        scope -> Text,
        failures -> Integer,
        opened_at -> Nullable<BigInt>,
        trial_job -> Nullable<BigInt>,
        trial_epoch -> Nullable<BigInt>,
    }
}

diesel::table! {
    retry_audit (id) {
        id -> BigInt,
        at -> BigInt,
        event -> Text,
        scope -> Text,
        task_id -> Nullable<BigInt>,
        visit -> Nullable<BigInt>,
        reason -> Nullable<Text>,
        retry_count -> Integer,
        total -> Integer,
        error -> Nullable<Text>,
    }
}

diesel::table! {
    batches (id) {
        id -> Text,
        project_id -> BigInt,
        mode -> Text,
        created_at -> BigInt,
        content -> Text,
    }
}

diesel::table! {
    project_spend (project_id, day) {
        project_id -> BigInt,
        day -> BigInt,
        micro_usd -> BigInt,
    }
}

diesel::table! {
    task_spend (task_id) {
        task_id -> BigInt,
        micro_usd -> BigInt,
        let_go_at -> BigInt,
    }
}

diesel::table! {
    deploys (id) {
        id -> BigInt,
        project_id -> BigInt,
        task_id -> BigInt,
        visit -> BigInt,
        revision -> Text,
        person -> Nullable<Text>,
        previous -> Nullable<Text>,
        node -> Text,
        status -> Text,
        result -> Nullable<Text>,
        created_at -> BigInt,
        finished_at -> Nullable<BigInt>,
        health -> Nullable<Text>,
        action -> Nullable<Text>,
        judged_at -> Nullable<BigInt>,
        brought_by -> Nullable<BigInt>,
    }
}

diesel::table! {
    quarantine (project_id, revision) {
        project_id -> BigInt,
        revision -> Text,
        task_id -> BigInt,
        reason -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    probes (deploy_id, slot) {
        deploy_id -> BigInt,
        slot -> Integer,
        at -> BigInt,
        ok -> Nullable<Bool>,
        detail -> Nullable<Text>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    projects,
    tasks,
    task_dependencies,
    jobs,
    runs,
    evidence,
    gestures,
    intents,
    outbox,
    inbox,
    leases,
    instances,
    duties,
    healing_events,
    pull_requests,
    comments,
    events,
    settings_state,
    incidents,
    node_states,
    node_cuts,
    retry_scopes,
    retry_audit,
    batches,
    project_spend,
    task_spend,
    deploys,
    quarantine,
    probes,
);
