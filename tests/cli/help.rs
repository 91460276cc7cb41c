//! The help of every command, as people read it.

use crate::harness::nexus;

#[test]
fn every_command_explains_itself() {
    let commands: [&[&str]; 26] = [
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
        &["node"],
        &["node", "status"],
        &["completion"],
        &["version"],
    ];
    for command in commands {
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
