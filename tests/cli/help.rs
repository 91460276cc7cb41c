//! The help of every command, as people read it.

use crate::harness::nexus;

/// Every command; a family is one, too.
const COMMANDS: [&[&str]; 103] = [
    &[],
    &["up"],
    &["new"],
    &["build"],
    &["dev"],
    &["deploy"],
    &["ps"],
    &["describe"],
    &["logs"],
    &["invoke"],
    &["proof"],
    &["proof", "show"],
    &["proof", "verify"],
    &["receipt"],
    &["receipt", "show"],
    &["receipt", "verify"],
    &["receipt", "challenge"],
    &["publish"],
    &["scale"],
    &["stop"],
    &["start"],
    &["pause"],
    &["resume"],
    &["restart"],
    &["rm"],
    &["secret"],
    &["secret", "set"],
    &["secret", "list"],
    &["secret", "rm"],
    &["join"],
    &["fabric"],
    &["fabric", "members"],
    &["fabric", "discover"],
    &["fabric", "invite"],
    &["fabric", "invites"],
    &["fabric", "withdraw"],
    &["fabric", "approve"],
    &["fabric", "evict"],
    &["fabric", "leave"],
    &["validator"],
    &["validator", "list"],
    &["validator", "add"],
    &["validator", "remove"],
    &["validator", "upgrade"],
    &["validator", "cancel-upgrade"],
    &["validator", "resign"],
    &["role"],
    &["role", "list"],
    &["role", "grant"],
    &["role", "revoke"],
    &["role", "allow"],
    &["context"],
    &["context", "add"],
    &["context", "list"],
    &["context", "use"],
    &["context", "rm"],
    &["stoq"],
    &["stoq", "sessions"],
    &["stoq", "cap"],
    &["trust"],
    &["trust", "show"],
    &["trust", "list"],
    &["trust", "rotate"],
    &["trust", "revoke"],
    &["trust", "audit"],
    &["ledger"],
    &["ledger", "status"],
    &["ledger", "blocks"],
    &["ledger", "block"],
    &["ledger", "tx"],
    &["ledger", "get"],
    &["ledger", "proof"],
    &["ledger", "verify"],
    &["ledger", "watch"],
    &["asset"],
    &["asset", "measure"],
    &["asset", "list"],
    &["asset", "show"],
    &["asset", "register"],
    &["asset", "remeasure"],
    &["asset", "share"],
    &["asset", "transfer"],
    &["asset", "drain"],
    &["asset", "resume"],
    &["asset", "retire"],
    &["asset", "keep"],
    &["asset", "forget"],
    &["asset", "challenge"],
    &["lease"],
    &["lease", "list"],
    &["lease", "show"],
    &["lease", "grant"],
    &["lease", "renew"],
    &["lease", "release"],
    &["node"],
    &["node", "status"],
    &["node", "list"],
    &["node", "cordon"],
    &["node", "drain"],
    &["node", "open"],
    &["node", "label"],
    &["completion"],
    &["version"],
];

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        let help = nexus(&[command, &["--help"]].concat()).ok();
        let too_long = help.lines().find(|line| line.chars().count() > 100);
        assert_eq!(too_long, None, "{command:?}");
        let name = ["nexus"]
            .iter()
            .chain(command)
            .copied()
            .collect::<Vec<_>>()
            .join(" ");
        insta::assert_snapshot!(name.replace(' ', "-"), help);
        // The short help is the same text: nobody has to know two.
        assert_eq!(
            nexus(&[command, &["-h"]].concat()).ok(),
            help,
            "{command:?}"
        );
    }
}
