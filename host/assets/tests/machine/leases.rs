//! Adapters as their users have them: behind one trait.

use std::time::Instant;

use hypermesh_assets::{
    Adapter, ContainerAdapter, CpuAdapter, EnforceError, Enforcement, GpuAdapter, Health,
    HealthError, MemoryAdapter, NetworkAdapter, SessionReading, StorageAdapter, System, Tolerances,
    Usage, WriteQuotaError,
};
use types::{Amount, AssetType, FactText, Name};

use crate::fake::Fake;

const NO_LIBRARY: &str = "libhypermesh-no-such-library.so.1";

fn all(folder: &std::path::Path) -> Vec<Box<dyn Adapter>> {
    let name = |text| Name::new(text).unwrap();
    let total = Amount(1 << 20);
    let uuid = FactText::new("GPU-1").unwrap();
    vec![
        Box::new(CpuAdapter::new(System::host(), total)),
        Box::new(MemoryAdapter::new(System::host(), total)),
        Box::new(StorageAdapter::new(folder.to_owned(), total)),
        Box::new(NetworkAdapter::new(total)),
        Box::new(GpuAdapter::new(NO_LIBRARY.into(), uuid, total)),
        Box::new(ContainerAdapter::new(name("web"), name("api"), total)),
    ]
}

#[test]
fn every_adapter_accounts_exactly_and_enforces_or_says_who_does() {
    let folder = tempfile::tempdir().unwrap();
    for (adapter, asset_type) in all(folder.path()).iter().zip(AssetType::ALL) {
        assert_eq!(adapter.asset_type(), *asset_type);
        let first = adapter.reserve(Amount(1_000_000)).unwrap();
        assert!(adapter.reserve(Amount(1_000_000)).is_err());
        let (reserved, total) = (Amount(1_000_000), Amount(1 << 20));
        assert_eq!(adapter.usage(), Usage { reserved, total });
        let enforced = adapter.enforce(&first);
        match asset_type {
            AssetType::Storage => assert!(matches!(enforced, Ok(Enforcement::Directory(_)))),
            AssetType::Network => assert!(matches!(enforced, Ok(Enforcement::Rate(_)))),
            _ => assert!(
                matches!(&enforced, Err(EnforceError::Unsupported { asset_type: of, .. }) if of == asset_type),
                "{enforced:?}"
            ),
        }
        assert_eq!(adapter.release(first), Ok(()));
        assert_eq!(adapter.usage().reserved, Amount::ZERO);
    }
}

#[test]
fn a_reservation_of_another_asset_is_not_enforced_and_goes_home() {
    let folder = tempfile::tempdir().unwrap();
    let adapters = all(folder.path());
    let (storage, network) = (&adapters[2], &adapters[3]);
    let reservation = network.reserve(Amount(5)).unwrap();
    let refused = storage.enforce(&reservation).unwrap_err();
    assert!(matches!(refused, EnforceError::Foreign { .. }), "{refused}");
    assert!(storage.release(reservation).is_err());
    assert_eq!(network.usage().reserved, Amount::ZERO);
}

#[test]
fn what_was_reserved_bounds_files_and_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let storage = StorageAdapter::new(folder.path().to_owned(), Amount(1 << 20));
    let held = storage.reserve(Amount(8 << 10)).unwrap();
    let Enforcement::Directory(directory) = storage.enforce(&held).unwrap() else {
        panic!("storage is enforced by a directory");
    };
    directory.write("a", &[0; 8 << 10]).unwrap();
    let refused = directory.write("b", b"more").unwrap_err();
    assert!(
        matches!(refused, WriteQuotaError::QuotaExceeded { .. }),
        "{refused}"
    );
    // Another holder has another directory.
    let other = storage.reserve(Amount(4 << 10)).unwrap();
    let Enforcement::Directory(others) = storage.enforce(&other).unwrap() else {
        panic!("storage is enforced by a directory");
    };
    assert!(others.content("a").is_err());

    let network = NetworkAdapter::new(Amount(1 << 30));
    let held = network.reserve(Amount(1 << 20)).unwrap();
    let Enforcement::Rate(mut bucket) = network.enforce(&held).unwrap() else {
        panic!("network is enforced by a rate");
    };
    let now = Instant::now() + std::time::Duration::from_secs(60);
    let burst = bucket.burst_bytes();
    assert_eq!(bucket.take(burst, now), Ok(()));
    assert!(bucket.take(1, now).is_err());
}

#[test]
fn health_follows_the_system() {
    let tolerances = Tolerances::DEFAULT;
    let fake = Fake::new(&[]);
    let adapter = MemoryAdapter::new(fake.system(), Amount(800 << 10));
    let registered = adapter.measure().unwrap();
    let health = || adapter.health(&registered, &tolerances).unwrap();
    assert_eq!(health(), Health::Unchanged);
    let lease = adapter.reserve(Amount(400 << 10)).unwrap();
    fake.write("proc/meminfo", b"MemTotal: 1000 kB\nMemAvailable: 400 kB\n");
    assert_eq!(health(), Health::Unchanged, "a lease is no loss");
    adapter.release(lease).unwrap();
    let (registered_bytes, found) = (Amount(800 << 10), Amount(400 << 10));
    let shrunk = Health::Shrunk {
        registered: registered_bytes,
        found,
    };
    assert_eq!(health(), shrunk);
    fake.write("proc/meminfo", b"nonsense");
    assert!(
        adapter.health(&registered, &tolerances).is_err(),
        "unknown is not gone"
    );
}

#[test]
fn what_is_absent_is_gone_and_another_type_is_an_error() {
    let tolerances = Tolerances::DEFAULT;
    let network = NetworkAdapter::new(Amount(100));
    network.observe(vec![SessionReading {
        goodput_bytes_per_s: 100,
        rtt_us: 5,
        loss_ppm: 0,
    }]);
    let registered = network.measure().unwrap();
    assert_eq!(
        network.health(&registered, &tolerances).unwrap(),
        Health::Unchanged
    );
    network.observe(Vec::new());
    let health = network.health(&registered, &tolerances).unwrap();
    assert!(matches!(health, Health::Gone { .. }), "{health:?}");

    let name = |text| Name::new(text).unwrap();
    let container = ContainerAdapter::new(name("web"), name("api"), Amount(2));
    let refused = container.health(&registered, &tolerances).unwrap_err();
    assert!(
        matches!(refused, HealthError::OtherType { .. }),
        "{refused}"
    );
    let none = container.measure().unwrap();
    container.observe(2);
    let two = container.measure().unwrap();
    assert_eq!(
        container.health(&none, &tolerances).unwrap(),
        Health::Unchanged
    );
    assert_eq!(
        container.health(&two, &tolerances).unwrap(),
        Health::Unchanged
    );
    container.observe(1);
    let (registered, found) = (Amount(2), Amount(1));
    let shrunk = Health::Shrunk { registered, found };
    assert_eq!(container.health(&two, &tolerances).unwrap(), shrunk);
}
