//! Pausing, resuming, restarting, as the reconciler carries them out.

use hypermesh_orchestrator::{Backoff, Event, Lifecycle};
use ledger::Operation;
use types::ComponentKind;

use crate::{World, key, name};

fn state(world: &World, text: &str) -> Lifecycle {
    world.reconciler.observed(&key(text, 0)).unwrap().state
}

fn deployed(kind: ComponentKind) -> World {
    let mut world = World::new();
    world.deploy("it", kind, 1);
    world.settle();
    world
}

fn pause(world: &mut World) {
    world.run(Operation::Pause {
        workload: name("it"),
    });
}

fn resume(world: &mut World) {
    world.run(Operation::Resume {
        workload: name("it"),
    });
}

#[test]
fn a_pause_halts_the_same_instance_that_goes_on_later() {
    for kind in [ComponentKind::Http, ComponentKind::Command] {
        let mut world = deployed(kind);
        let before = world.running.clone();
        pause(&mut world);
        assert_eq!(state(&world, "it"), Lifecycle::Pausing);
        assert!(world.obeyed());
        assert_eq!(state(&world, "it"), Lifecycle::Paused);
        resume(&mut world);
        assert_eq!(state(&world, "it"), Lifecycle::Resuming);
        assert!(world.obeyed() && !world.obeyed());
        assert_eq!(state(&world, "it"), Lifecycle::Running);
        assert_eq!(world.running, before);
        assert!(world.starting.is_empty() && world.stopping.is_empty());
    }
}

#[test]
fn a_change_of_mind_waits_for_the_answer() {
    let mut world = deployed(ComponentKind::Http);
    pause(&mut world);
    resume(&mut world);
    assert_eq!(state(&world, "it"), Lifecycle::Pausing, "its answer is due");
    world.settle();
    world.check_settled();
    assert_eq!(state(&world, "it"), Lifecycle::Running);
}

#[test]
fn what_is_paused_while_it_starts_comes_up_paused() {
    let mut world = World::new();
    world.deploy("it", ComponentKind::Command, 1);
    pause(&mut world);
    world.started();
    assert_eq!(state(&world, "it"), Lifecycle::Paused);
    world.run(Operation::Scale {
        workload: name("it"),
        component: name("main"),
        replicas: 2,
    });
    world.settle();
    world.check_settled();
    assert_eq!(world.running.len(), 2);
}

#[test]
fn a_countdown_is_held_while_paused() {
    let mut world = deployed(ComponentKind::Command);
    world.fail_one();
    pause(&mut world);
    assert_eq!(world.reconciler.next_timeout_ms(), None);
    world.wait(Backoff::LONGEST_MS);
    assert!(world.starting.is_empty(), "a paused replica is not started");
    assert!(world.reconciler.observed(&key("it", 0)).unwrap().held);
    resume(&mut world);
    world.wait(0);
    assert_eq!(world.starting.len(), 1);
    world.settle();
    world.check_settled();
}

#[test]
fn a_paused_replica_is_stopped_restarted_and_replaced() {
    for kind in [ComponentKind::Http, ComponentKind::Command] {
        let mut world = deployed(kind);
        let old = world.running.clone();
        pause(&mut world);
        world.settle();
        world.run(Operation::Restart {
            workload: name("it"),
        });
        let overlaps = kind == ComponentKind::Http;
        assert_eq!(world.starting.is_empty(), !overlaps, "{kind}");
        assert_eq!(world.stopping.is_empty(), overlaps, "{kind}");
        world.settle();
        world.check_settled();
        assert!(world.running.is_disjoint(&old) && world.running.len() == 1);
        pause(&mut world);
        world.deploy("it", kind, 1);
        world.settle();
        world.check_settled();
        pause(&mut world);
        world.settle();
        world.run(Operation::Stop {
            workload: name("it"),
        });
        assert_eq!(state(&world, "it"), Lifecycle::Stopping);
        world.settle();
        assert_eq!(world.reconciler.replicas().count(), 0);
    }
}

#[test]
fn a_predecessor_is_halted_with_its_successor_and_serves_again_if_that_is_replaced() {
    let mut world = deployed(ComponentKind::Http);
    let old = world.running.first().unwrap().clone();
    world.deploy("it", ComponentKind::Http, 1);
    pause(&mut world);
    assert_eq!(world.halted[&old], (true, false), "told to halt");
    while world.obeyed() {}
    assert_eq!(world.halted[&old], (true, true));
    world.deploy("it", ComponentKind::Http, 1);
    while world.obeyed() {}
    assert_eq!(
        world.halted[&old],
        (false, false),
        "it serves until the new one runs"
    );
    world.settle();
    world.check_settled();
}

#[test]
fn reports_that_answer_no_request_change_nothing() {
    let mut world = deployed(ComponentKind::Http);
    let id = world.running.first().unwrap().clone();
    for event in [
        Event::Started,
        Event::Paused,
        Event::Resumed,
        Event::Stopped,
    ] {
        world.tell(&id, event);
        assert_eq!(state(&world, "it"), Lifecycle::Running);
    }
    world.check_settled();
}

#[test]
fn a_predecessor_is_held_with_a_successor_that_failed() {
    let mut world = deployed(ComponentKind::Http);
    let old = world.running.clone();
    world.deploy("it", ComponentKind::Http, 1);
    world.fail_one();
    pause(&mut world);
    world.settle();
    world.check_settled();
    assert_eq!(world.running, old);
    resume(&mut world);
    world.settle();
    world.check_settled();
    assert!(world.running.is_disjoint(&old));
}
