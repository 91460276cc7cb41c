//! Which hostile test tries which interface: an interface that is offered and has none is a failure.

use std::collections::BTreeSet;
use std::path::Path;

use hypermesh_runtime::offered_interfaces;

/// Interfaces of one package and release, and the test that abuses them.
struct Tried {
    package: &'static str,
    interfaces: &'static [&'static str],
    /// Module of this suite, or a file below `tests/` of the workspace.
    file: &'static str,
    test: &'static str,
}

const fn tried(
    package: &'static str,
    interfaces: &'static [&'static str],
    file: &'static str,
    test: &'static str,
) -> Tried {
    Tried {
        package,
        interfaces,
        file,
        test,
    }
}

const TERMINALS: &[&str] = &[
    "terminal-input",
    "terminal-output",
    "terminal-stderr",
    "terminal-stdin",
    "terminal-stdout",
];

#[rustfmt::skip]
const TABLE: &[Tried] = &[
    tried("hypermesh:assets@0.1.0", &["cpu"], "cpu",
        "budgets_and_calls_that_are_hoarded_are_bounded_and_stop_with_their_instance"),
    tried("hypermesh:assets@0.1.0", &["memory"], "memory",
        "regions_that_are_hoarded_are_bounded_and_come_back_with_their_instance"),
    tried("hypermesh:assets@0.1.0", &["network"], "network",
        "links_and_connections_that_are_hoarded_are_bounded_and_close_with_their_instance"),
    tried("hypermesh:assets@0.1.0", &["volumes"], "volumes",
        "volumes_that_are_hoarded_are_bounded_and_come_back_with_their_instance"),
    tried("hypermesh:consensus@0.1.0", &["ledger"], "consensus",
        "submissions_that_are_hoarded_are_bounded_and_freed_once_final"),
    tried("hypermesh:consensus@0.1.0", &["proofs"], "consensus_proofs",
        "hosts_are_asked_one_at_a_time_also_when_who_asked_is_gone"),
    tried("wasi:blobstore@0.2.0-draft", &["types"], "hostile_blobs",
        "a_quota_reached_in_mid_stream_ends_the_stream_and_leaves_no_half_object"),
    tried("wasi:blobstore@0.2.0-draft", &["container"], "hostile_blobs",
        "contents_that_are_held_undrained_are_bounded_and_freed_with_their_instance"),
    tried("wasi:blobstore@0.2.0-draft", &["blobstore"], "node/hostile_stores",
        "odd_names_and_ranges_of_objects_are_answered_and_lead_nowhere"),
    tried("wasi:cli@0.2.12", &["environment", "stdin"], "hostile_greed",
        "nobody_types_and_no_terminal_nor_variable_of_the_host_is_there"),
    tried("wasi:cli@0.2.12", TERMINALS, "hostile_greed",
        "nobody_types_and_no_terminal_nor_variable_of_the_host_is_there"),
    tried("wasi:cli@0.2.12", &["exit"], "command",
        "a_command_gets_arguments_environment_settings_and_an_empty_input"),
    tried("wasi:cli@0.2.12", &["stderr", "stdout"], "command",
        "a_log_flood_is_cut_and_counted_and_the_command_ends_well"),
    tried("wasi:cli@0.3.0", &["environment", "stdin"], "hostile_greed",
        "nobody_types_and_no_terminal_nor_variable_of_the_host_is_there"),
    tried("wasi:cli@0.3.0", TERMINALS, "hostile_greed",
        "nobody_types_and_no_terminal_nor_variable_of_the_host_is_there"),
    tried("wasi:cli@0.3.0", &["exit"], "hostile_greed",
        "an_exit_ends_the_call_and_nothing_else"),
    tried("wasi:cli@0.3.0", &["stderr", "stdout", "types"], "hostile_logs",
        "outputs_of_wasi_0_3_are_cut_to_the_same_rate"),
    tried("wasi:clocks@0.2.12", &["monotonic-clock"], "hostile_greed",
        "the_longest_sleep_ends_with_its_wall_time"),
    tried("wasi:clocks@0.2.12", &["wall-clock"], "hostile_greed",
        "a_guest_that_only_looks_at_the_clock_leaves_room_for_others"),
    tried("wasi:clocks@0.3.0", &["monotonic-clock", "types"], "hostile_greed",
        "the_longest_sleep_ends_with_its_wall_time"),
    tried("wasi:clocks@0.3.0", &["system-clock"], "hostile_greed",
        "a_guest_that_only_looks_at_the_clock_leaves_room_for_others"),
    tried("wasi:config@0.2.0-rc.1", &["store"], "hostile_config",
        "keys_of_any_length_and_kind_are_absent_unless_set"),
    tried("wasi:config@0.2.0-draft", &["runtime"], "hostile_config",
        "keys_of_any_length_and_kind_are_absent_unless_set"),
    tried("wasi:config@0.2.0-draft-2024-09-27", &["store"], "hostile_config",
        "keys_of_any_length_and_kind_are_absent_unless_set"),
    tried("wasi:filesystem@0.2.12", &["preopens", "types"], "files", "no_path_leads_out"),
    tried("wasi:filesystem@0.3.0", &["preopens", "types"], "files", "no_path_leads_out"),
    tried("wasi:http@0.2.12", &["outgoing-handler"], "outgoing",
        "connections_beyond_the_limit_are_refused"),
    tried("wasi:http@0.2.12", &["types"], "hostile",
        "the_neighbour_of_hostile_guests_keeps_answering"),
    tried("wasi:http@0.3.0", &["client"], "outgoing",
        "connections_beyond_the_limit_are_refused"),
    tried("wasi:http@0.3.0", &["types"], "http_0_3", "limits_hold"),
    tried("wasi:io@0.2.12", &["error", "streams"], "hostile_greed",
        "timers_and_inputs_that_are_hoarded_end_their_instance_only"),
    tried("wasi:io@0.2.12", &["poll"], "hostile_greed",
        "polls_of_nothing_and_of_one_thing_many_times_end"),
    tried("wasi:keyvalue@0.2.0-draft", &["store"], "node/hostile_stores",
        "keys_and_values_beyond_their_bounds_are_refused_and_the_rest_stays"),
    tried("wasi:keyvalue@0.2.0-draft", &["atomics"], "keyvalue",
        "buckets_keep_what_instances_set"),
    tried("wasi:keyvalue@0.2.0-draft", &["batch"], "node/hostile_stores",
        "floods_of_keys_buckets_and_batches_end_at_their_bounds"),
    tried("wasi:keyvalue@0.2.0-draft2", &["atomics"], "keyvalue_draft2",
        "swaps_that_are_prepared_and_hoarded_end_their_instance_only"),
    tried("wasi:keyvalue@0.2.0-draft2", &["batch", "store"], "keyvalue_draft2",
        "a_swap_is_made_only_of_the_value_that_was_seen"),
    tried("wasi:logging@0.1.0-draft", &["logging"], "hostile_logs",
        "a_flood_of_small_messages_is_cut_to_the_rate"),
    tried("wasi:messaging@0.2.0-draft", &["producer"], "worker",
        "a_flood_of_messages_ends_with_an_error_of_the_interface"),
    tried("wasi:messaging@0.2.0-draft", &["types"], "worker",
        "messages_are_bounded_one_by_one_and_together"),
    tried("wasi:random@0.2.12", &["insecure", "insecure-seed", "random"], "hostile_greed",
        "chance_is_given_up_to_the_bound_of_a_call"),
    tried("wasi:random@0.3.0", &["insecure", "insecure-seed", "random"], "hostile_greed",
        "chance_is_given_up_to_the_bound_of_a_call"),
    tried("wasi:sockets@0.2.12", &["tcp", "tcp-create-socket"], "sockets",
        "a_flood_of_connections_ends_at_the_limit"),
    tried("wasi:sockets@0.2.12", &["udp", "udp-create-socket"], "sockets",
        "datagrams_go_to_granted_addresses_only"),
    tried("wasi:sockets@0.2.12", &["instance-network", "network"], "sockets",
        "nothing_is_listened_to_and_no_port_is_taken"),
    tried("wasi:sockets@0.2.12", &["ip-name-lookup"], "sockets",
        "a_name_that_no_pattern_covers_is_not_looked_up"),
];

/// The interfaces of the table, as an import names them.
fn names() -> Vec<String> {
    let named = |row: &'static Tried| {
        let (package, version) = row.package.split_once('@').unwrap();
        let name = move |interface| format!("{package}/{interface}@{version}");
        row.interfaces.iter().map(name)
    };
    TABLE.iter().flat_map(named).collect()
}

#[test]
fn every_interface_that_is_offered_has_a_hostile_test_and_no_other_is_listed() {
    let listed: BTreeSet<String> = names().into_iter().collect();
    let offered: BTreeSet<String> = offered_interfaces()
        .map(|offer| offer.to_string())
        .collect();
    let untried: Vec<_> = offered.difference(&listed).collect();
    assert!(untried.is_empty(), "no hostile test: {untried:?}");
    let gone: Vec<_> = listed.difference(&offered).collect();
    assert!(gone.is_empty(), "listed and not offered: {gone:?}");
    assert_eq!(names().len(), listed.len(), "an interface is listed twice");
}

#[test]
fn every_test_of_the_table_is_there() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for row in TABLE {
        let path = if row.file.contains('/') {
            crate_root.join(format!("../../tests/{}.rs", row.file))
        } else {
            crate_root.join(format!("tests/runtime/{}.rs", row.file))
        };
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut before = "";
        let is_test = text.lines().any(|line| {
            let is_function = line.ends_with(&format!("fn {}() {{", row.test));
            let found = is_function && (before.starts_with("#[test") || before.contains("::test"));
            before = line;
            found
        });
        assert!(is_test, "{}: no test `{}`", path.display(), row.test);
    }
}
