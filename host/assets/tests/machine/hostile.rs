//! Made-up systems: nested groups of both versions, and files that say anything at all.

use hypermesh_assets::{measure_cpu, measure_memory, memory_reading};
use proptest::prelude::*;

use crate::fake::Fake;

const OWN: (&str, &str) = ("proc/self/cgroup", "0::/a/b\n");

fn cores(files: &[(&str, &str)]) -> Option<u64> {
    let fake = Fake::new(files);
    measure_cpu(&fake.system())
        .ok()
        .map(|facts| facts.cores_milli)
}

/// Ceiling and available bytes.
fn memory(files: &[(&str, &str)]) -> Option<(u64, u64)> {
    let fake = Fake::new(files);
    let reading = memory_reading(&fake.system()).ok()?;
    Some((reading.ceiling_bytes, reading.available_bytes))
}

#[test]
fn the_least_quota_of_nested_groups_counts() {
    assert_eq!(cores(&[]), Some(8_000));
    assert_eq!(cores(&[OWN]), Some(8_000));
    let max = |own, parent, root| {
        cores(&[
            OWN,
            ("sys/fs/cgroup/a/b/cpu.max", own),
            ("sys/fs/cgroup/a/cpu.max", parent),
            ("sys/fs/cgroup/cpu.max", root),
        ])
    };
    assert_eq!(max("max 100000", "max 100000", "max 100000"), Some(8_000));
    assert_eq!(
        max("150000 100000", "max 100000", "max 100000"),
        Some(1_500)
    );
    // A child may claim more than its parent has.
    assert_eq!(
        max("400000 100000", "50000 100000", "max 100000"),
        Some(500)
    );
    assert_eq!(max("400000 100000", "max 100000", "100 100000"), Some(1));
    assert_eq!(max("18446744073709551615 1", "max 1", "max 1"), Some(8_000));
}

#[test]
fn groups_of_the_first_version_are_found_by_one_name_or_several() {
    let quota = |mount: &str, quota, period| {
        cores(&[
            ("proc/self/cgroup", "3:cpu,cpuacct:/a\n2:cpuset:/z\n0::/\n"),
            (&format!("sys/fs/cgroup/{mount}/a/cpu.cfs_quota_us"), quota),
            (
                &format!("sys/fs/cgroup/{mount}/a/cpu.cfs_period_us"),
                period,
            ),
        ])
    };
    for mount in ["cpu", "cpu,cpuacct"] {
        assert_eq!(quota(mount, "-1", "100000"), Some(8_000));
        assert_eq!(quota(mount, "250000\n", "100000\n"), Some(2_500));
        assert_eq!(quota(mount, "-2", "100000"), None);
        assert_eq!(quota(mount, "250000", "0"), None);
    }
    let endless = "9223372036854771712";
    let files = [
        ("proc/self/cgroup", "4:memory:/a\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", endless),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "5000000"),
        ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4096"),
        ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "4000"),
        (
            "sys/fs/cgroup/memory/a/memory.stat",
            "cache 9\ntotal_inactive_file 1000\n",
        ),
    ];
    assert_eq!(memory(&files), Some((4_096, 1_096)));
}

#[test]
fn memory_is_the_least_of_machine_and_groups() {
    let machine = (1_000 << 10, 800 << 10);
    assert_eq!(memory(&[]), Some(machine));
    let nested = |own, parent| {
        memory(&[
            OWN,
            ("sys/fs/cgroup/a/b/memory.max", own),
            ("sys/fs/cgroup/a/b/memory.current", "100"),
            ("sys/fs/cgroup/a/memory.max", parent),
            ("sys/fs/cgroup/a/memory.current", "600"),
        ])
    };
    assert_eq!(nested("max", "max"), Some(machine));
    assert_eq!(nested("5000", "max"), Some((5_000, 4_900)));
    assert_eq!(nested("5000", "1000"), Some((1_000, 400)));
    // A limit may be set below what is held already.
    assert_eq!(nested("5000", "500"), Some((500, 0)));
    assert_eq!(nested("0", "max"), Some((0, 0)));
    assert_eq!(nested("18446744073709551615", "max"), Some(machine));
}

#[test]
fn in_a_container_the_mount_is_the_own_group() {
    let files = [
        ("proc/self/cgroup", "0::/docker/0123\n"),
        ("sys/fs/cgroup/memory.max", "2000"),
        ("sys/fs/cgroup/memory.current", "500"),
        ("sys/fs/cgroup/cpu.max", "100000 100000"),
    ];
    assert_eq!(memory(&files), Some((2_000, 1_500)));
    assert_eq!(cores(&files), Some(1_000));
    // A path out of what is mounted stays within it.
    let mut outside = files;
    outside[0] = ("proc/self/cgroup", "0::/../../x\n");
    assert_eq!(memory(&outside), Some((2_000, 1_500)));
}

#[test]
fn files_that_say_something_else_are_errors_that_name_them() {
    let long = "1".repeat(70_000);
    for said in [
        "",
        "-5",
        "max max",
        "1e9",
        "99999999999999999999",
        "ä",
        &long,
    ] {
        let fake = Fake::new(&[OWN, ("sys/fs/cgroup/a/memory.max", said)]);
        let refused = memory_reading(&fake.system()).unwrap_err().to_string();
        assert!(refused.contains("memory.max"), "{refused}");
        let fake = Fake::new(&[OWN, ("sys/fs/cgroup/a/cpu.max", said)]);
        let refused = measure_cpu(&fake.system()).unwrap_err().to_string();
        assert!(refused.contains("cpu.max"), "{refused}");
        let fake = Fake::new(&[("proc/meminfo", said)]);
        assert!(measure_memory(&fake.system()).is_err(), "{said}");
    }
    for said in ["max 0", "max", "1 0", "1 2 3", "-1 100000"] {
        assert_eq!(
            cores(&[OWN, ("sys/fs/cgroup/cpu.max", said)]),
            None,
            "{said}"
        );
    }
    for said in ["MemTotal: 1 kB", "MemTotal: 1 kB\nMemAvailable: 1 MB"] {
        assert_eq!(memory(&[("proc/meminfo", said)]), None, "{said}");
    }
    let deep = format!("0::{}\n", "/x".repeat(65));
    for said in ["nonsense", "x::/", "0:", "0::relative", &deep] {
        assert_eq!(cores(&[("proc/self/cgroup", said)]), None, "{said}");
    }
    let fake = Fake::new(&[OWN]);
    fake.write("sys/fs/cgroup/cpu.max", b"\xff\xfe");
    assert!(measure_cpu(&fake.system()).is_err());
    std::fs::remove_file(fake.root().join("proc/meminfo")).unwrap();
    let refused = measure_memory(&fake.system()).unwrap_err().to_string();
    assert!(refused.contains("missing"), "{refused}");
}

#[test]
fn a_limit_without_what_is_held_is_an_error() {
    assert_eq!(memory(&[OWN, ("sys/fs/cgroup/a/memory.max", "4096")]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the files say, the answer is an error or no more than the machine has.
    #[test]
    fn no_file_makes_more_of_the_machine(
        group in "(0::/[a./]{0,4}\n){0,2}.{0,8}",
        limit in "(max|[0-9]{0,22}|.{0,6})",
        current in "([0-9]{1,21}|.{0,6})",
        stat in "(inactive_file [0-9]{0,22}\n|.{0,9})",
    ) {
        let fake = Fake::new(&[
            ("proc/self/cgroup", &group),
            ("sys/fs/cgroup/memory.max", &limit),
            ("sys/fs/cgroup/memory.current", &current),
            ("sys/fs/cgroup/memory.stat", &stat),
        ]);
        if let Ok(reading) = memory_reading(&fake.system()) {
            prop_assert!(reading.available_bytes <= reading.ceiling_bytes);
            prop_assert!(reading.ceiling_bytes <= 1_000 << 10);
        }
    }
}
