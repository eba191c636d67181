/** Pages with commands, in the order in which they are run; each in a directory of its own. */
export const COMMAND_PAGES = [
  'README.md',
  'docs/tutorial.md',
  'docs/how-to/install-the-cli.md',
  'docs/how-to/publish-from-ci.md',
  'docs/how-to/lose-a-device.md',
  'docs/how-to/when-something-is-wrong.md',
  'docs/how-to/move-from-the-older-system.md',
  'docs/how-to/provision-a-device.md',
  'docs/how-to/provision-a-jetson.md',
  'docs/how-to/use-bundles.md',
  'docs/how-to/rotate-keys.md',
  'docs/how-to/backup.md',
  'docs/how-to/run-in-a-cluster.md',
] as const;
/** A page that starts services of its own. */
export const STANDALONE_PAGE = 'docs/tutorial.md';
