/**
 * What to do next about a code, where that is more than what the exit status asks for. Codes of the services stand here too: whoever meets one at
 * the command line or in docs/reference/error-codes.md is helped alike.
 */
export const REMEDIES = {
  'request.precondition-failed':
    'Somebody else has changed it meanwhile: look at it again, then run the same command again.',
  'request.rate-limited': 'Wait a few minutes and try again.',
  'request.timeout': 'Check the connection, then run the same command again.',
  'request.host-refused': 'Use a name that the Loader knows: LOADER_ALLOWED_HOSTS lists them.',
  'request.origin-refused': "Use the service's own page, or let the page's origin call: CORS_ORIGINS of the Admin API.",
  'route.not-found': 'Check the URL: another service, or another release of it, may answer there.',
  'route.undeclared': 'Report it: every route must say who may call it.',
  'server.unavailable': 'Wait a moment, then run the same command again.',
  'name.invalid': 'Use letters, digits, ".", "_" and "-", beginning with a letter or digit, at most 200.',

  'token.missing': 'Run "azaion login".',
  'token.invalid': 'Run "azaion login". If it stays, compare the clocks: "azaion doctor" does.',
  'token.expired': 'Run "azaion login".',
  'role.forbidden': 'Log in with an account that may do this, or ask an administrator for the role.',
  'folder.forbidden':
    'Ask an administrator for the right to this folder: "azaion folder set FOLDER --add-read ROLE", or --add-write.',
  'folder.attestation-required':
    'Ask from a device whose TPM was attested: "azaion device show SERIAL" says whether it was.',
  'login.wrong-credentials':
    'Check e-mail address and password. After many failures an account is locked for 15 minutes.',
  'login.rate-limited': 'Wait a few minutes and try again.',
  'login.no-such-account': 'Check e-mail address and password.',
  'login.wrong-password': 'Check e-mail address and password.',
  'login.account-disabled': 'Ask an administrator to enable the account: "azaion user enable EMAIL".',
  'clock.wrong': 'Set the clock of the machine, or let a time service do it: "timedatectl set-ntp true".',
  'device.not-enrolled': 'Start the Loader of the device, or run "azaion device enrol" on it.',
  'device.already-enrolled': 'Run "azaion device reset SERIAL" as an administrator, then enrol again.',
  'device.proof-invalid': 'Enrol again; if it stays, do not trust this device: it may not have the keys that it shows.',
  'device.revoked': 'If it is to be used again: "azaion device reset SERIAL" as an administrator, then enrol it anew.',
  'device.key-store':
    'Run "azaion doctor" on the device as the user of its Loader: the data directory must be that user\'s alone.',
  'device.hardware-changed':
    'Run "azaion device reset SERIAL" as an administrator, and enrol the changed machine anew.',
  'device.hardware-unknown':
    'Run the Loader as a user who may read serial numbers (root), or choose another LOADER_BINDING.',
  'device.tpm-absent': 'Run "azaion doctor" on the device: it says what is missing. Or choose another LOADER_BINDING.',
  'device.tpm-busy':
    'End what holds the TPM, or name its resource manager in TPM_TCTI (device:/dev/tpmrm0), and try again.',
  'device.tpm-lockout':
    'Find out which program gave wrong passwords, then run "tpm2_dictionarylockout --clear-lockout".',
  'device.tpm-policy': 'Boot what was signed for, or sign for this boot state: "azaion device sign-boot-policy".',
  'device.tpm-foreign':
    'Run "azaion device reset SERIAL" as an administrator, remove "tpm" in the data directory, enrol again.',
  'device.tpm-failed': 'Run "azaion doctor" on the device; the Loader\'s log has what the TPM answered.',
  'attestation.malformed': 'Update the Loader of the device; if it stays, do not trust this device.',
  'attestation.ek-untrusted':
    'Add the maker of the TPM to TPM_EK_ROOTS_FILE of the Admin API, or its key to TPM_EK_ALLOW_FILE.',
  'attestation.ek-expired': 'Add the key of this TPM to TPM_EK_ALLOW_FILE of the Admin API, when you know whose it is.',
  'attestation.key-attributes': 'Do not trust this device: its keys are not bound to its TPM as they must be.',
  'attestation.foreign-key': 'Do not trust this device: its keys were not made in the TPM that it shows.',
  'attestation.wrong-nonce': 'Enrol again: evidence is good once.',
  'attestation.pcr-refused': 'Find out what has changed; when you know: "azaion device reset SERIAL --new-boot-state".',
  'attestation.replayed': 'Enrol again: evidence is good once.',
  'attestation.activation-failed':
    'Enrol again; if it stays, do not trust this device: it does not have the TPM that it shows.',
  'attestation.tpm-taken': 'Reset the other device, if it is gone: "azaion device reset SERIAL".',

  'resource.rollback-refused': 'If you really want the older version, name it: azaion fetch FOLDER/NAME@VERSION.',
  'resource.range-invalid': 'Ask for a range that lies within the content.',
  'resource.too-large': 'Publish less at once; the message says how much may be.',
  'pack.truncated':
    'Run the same command again. If it stays: publish the same file again once "azaion list FOLDER/NAME" says "bad".',
  'cdn.missing':
    'Run the same command again. If it stays: where "azaion list FOLDER/NAME" says "bad", publishing the same file again repairs it; else tell the operator of the object store.',
  'bundle.invalid': 'Take another copy of the bundle, or make it again; "azaion verify" says whether one is good.',
  'bundle.not-for-device': 'Make the bundle again with --device and the serial of this device.',
  'pack.exists': 'Run the same command again: what was sent is not sent again.',
  'api.unexpected': 'Check that an Admin API answers at this URL. If it does, update azaion.',
  'upload.not-found': 'Run the same command again: it opens a new upload and reuses what was sent.',
  'upload.conflict': 'Run the same command again: it opens a new upload and reuses what was sent.',
  'upload.pack-gone': 'Run the same command again: what is missing is sealed and sent anew.',
  'upload.refused':
    'Run the same command again; if it stays, update azaion: the Admin API does not accept what it makes.',
  'upload.quota-exceeded': 'Withdraw versions that nobody needs, or ask an administrator for a larger quota.',
  'upload.too-many-drafts':
    'Let other publishes of this account finish first, or wait: what was given up is forgotten within a day. An administrator can raise DRAFT_MAX_UPLOADS and DRAFT_MAX_BYTES.',

  'keys.invalid': 'Give a key on P-256 as a JSON Web Key, such as "azaion keys root create" makes.',
  'keys.wrong-passphrase': 'Check the passphrase; if the file was changed, take another copy of it.',
  'keys.kek-invalid': 'Put the right key-encryption keys into ADMIN_KEK_FILE, readable by the service alone.',
  'keys.wrapped-invalid':
    'Put the earlier key-encryption keys back into ADMIN_KEK_FILE: one of them has wrapped this key.',
  'statement.key-unknown': 'The operator must sign a key document that names this key: "azaion keys sign --add".',
  'statement.scope': 'An administrator must promote this version for the fleet first.',
  'key-document.invalid': 'Compare the root keys: STATEMENT_ROOT_KEY_FILE must be that of the installation.',
  'key-document.expired': 'The operator must sign a new key document with the root key.',
  'key-document.rollback': 'Trust nothing from there until its operator knows why an older key document is shown.',
  'grant.foreign-recipient':
    'Use the key that the device has enrolled with; what was made for another device opens there only.',
  'grant.expired': 'Run the same command again. If it stays, compare the clocks: "azaion doctor" does.',
  'grant.withdrawn': 'Take the version that is to be used now: "azaion list FOLDER/NAME" shows them.',
  'legacy.invalid':
    'Check the key, and that the parts belong together: the format cannot tell a wrong key from damage.',

  'unlock.credentials-rejected': 'Check e-mail address and password.',
  'unlock.forbidden': 'Log in with an account that may unlock and read the folder of the archive.',
  'unlock.api-unreachable': 'Unlock again when the Admin API can be reached.',
  'unlock.archive-not-found':
    'Publish the archive under the name in UNLOCK_RESOURCE, or put it to where IMAGES_PATH says.',
  'unlock.key-not-found':
    'Register the archive under LEGACY_ARCHIVE_NAME of the Loader ("azaion legacy register images -o FILE"), encrypt it with the fragment in that file, then unlock again.',
  'unlock.archive-unreadable': 'Let the user of the Loader read what IMAGES_PATH names, and look at the disk.',
  'unlock.archive-invalid': 'Make the archive with "docker save -o FILE IMAGE…" and publish that, uncompressed.',
  'unlock.archive-truncated': 'Publish the archive again, and compare its size with what "docker save" wrote.',
  'unlock.archive-stalled': 'Unlock again when the CDN can be reached: what came is kept and not fetched again.',
  'unlock.no-space': "Free space on the device, also on the engine's disk, then unlock again.",
  'unlock.image-unsigned':
    'Somebody may have changed the archive: do not run it. Tell your security contact, and publish it anew.',
  'unlock.image-missing': 'Publish the whole archive anew.',
  'unlock.image-mismatch':
    'Somebody may have changed the archive: do not run it. Tell your security contact, and publish it anew.',
  'unlock.engine-not-installed':
    'Install docker, podman or nerdctl on the device, or name its command in CONTAINER_CLI.',
  'unlock.engine-unreachable':
    'Start the engine of the device, then unlock again; "azaion doctor" says whether it answers.',
  'unlock.engine-forbidden':
    'Let the user of the Loader use the engine (group docker, or DOCKER_HOST), then unlock again.',
  'unlock.engine-failed': "Look into the engine's log and at its disk, then unlock again.",
  'unlock.engine-stalled': "Look into the engine's log and at its disk, then unlock again.",
  'unlock.plaintext-on-disk': 'Give podman room in memory (a tmpfs at /dev/shm or /run), or use docker.',
  'unlock.services-failed': "Mend what UNLOCK_COMPOSE_FILE names, or look into the engine's log, then unlock again.",
  'unlock.services-unhealthy': 'Publish images whose services become healthy: the previous ones run meanwhile.',
  'unlock.interrupted': 'Run "azaion unlock" again.',
  'unlock.cancelled': 'Run "azaion unlock" again when it is to be done.',
  'unlock.not-running': 'There is nothing to do: "azaion status" shows what the Loader does.',
  'unlock.failed': "Look into the Loader's log, which has the cause.",

  'user.exists': 'Use that account ("azaion user set-password" gives it another password), or another address.',
  'user.email-too-short': 'Give a whole e-mail address.',
  'user.email-invalid': 'Give a whole e-mail address.',
  'user.password-too-short': 'Choose a longer one: the message says how long.',
  'user.not-found': 'Check the address: "azaion user list" shows them.',
  'user.disabled': 'Enable the account first: "azaion user enable EMAIL".',
  'user.last-administrator': 'Make another account an ApiAdmin first.',
  'user.of-device': 'Change the device instead: "azaion device revoke SERIAL", or reset.',
  'device.exists': 'Take another serial, or provision that device again: "azaion device provision --reset".',
  'device.not-found': 'Check the serial: "azaion device list" shows them.',
  'device.key-required': 'Ask with the key that the device has enrolled; without a device, with no serial.',
  'group.not-found': 'Check the name: "azaion group list" shows them.',
  'desired.unavailable': 'Check name and version: "azaion list FOLDER/NAME" shows them.',
  'version.withdrawn': 'Take another version: what was withdrawn stays so.',
  'version.pinned': 'Take the pin away first: "azaion pin FOLDER/NAME --remove".',
  'version.device-scope': 'Give it to the fleet first: "azaion promote FOLDER/NAME@VERSION".',
  'grant.not-found': 'Run the same command again: it asks for a new grant.',
  'statement-key.document-refused': 'Sign it with the root key of this installation: "azaion keys sign".',
  'statement-key.document-older': 'Sign the next one: "azaion keys sign --document" with the one in force.',
  'statement-key.not-named': 'Name a key of this Admin API: "azaion keys new", then "azaion keys sign --add".',
  'statement-key.own-root': 'Give the Admin API the public half of an offline root first: STATEMENT_ROOT_KEY_FILE.',
  'legacy-file.not-found': 'Check the names of folder and file.',
  'key-fragment.not-found':
    'Register the archive first: "azaion legacy register NAME -o FILE", as a ResourceUploader or ApiAdmin.',
  'archive.of-another': 'Take another name, or let who registered it do so.',
  'token-key.rotating': 'Wait a quarter of an hour until the rotation is over.',
  'hashing.busy': 'Wait a moment, then run the same command again.',
  'database.unavailable': 'Wait, or tell the operator that PostgreSQL does not answer; nothing has to be restarted.',

  'cli.not-logged-in': 'Run "azaion login --api URL --email YOU".',
  'file.unusable':
    'Check the path and its permissions. AZAION_PROFILE names another place for the profile and what lies beside it.',
  'profile.exposed': 'Run "chmod 600" on it, then log in again, because somebody may have seen the tokens.',
  'profile.invalid': 'Delete it and run "azaion login" again.',
  'service.unexpected': 'Check that the URL is that of the service that is meant. If it is, update azaion.',
  'trust.no-root': 'Set STATEMENT_ROOT_KEY_FILE to the public root key that your operator gave you.',
  'trust.root-invalid': 'It must be a file with a JSON Web Key on P-256: kty, crv, x, y and kid.',
  'keys.exposed': 'Run "chmod 600" on it. If somebody may have read it, make a new key and provision the devices anew.',
  'audit.broken': 'Compare with what was exported, and find out who can write to the database.',
  'group.exists': 'Use it, or take another name.',
  'desired.not-set': 'See what is wished for: "azaion desired show".',
  'device.no-conf': 'Provision it with "azaion device provision", or set DEVICE_CONF.',
  'device.conf-unreadable': 'Run this as the user of the Loader, or as root.',
  'device.bad-conf': 'Mend the file, or provision the device again.',
  'doctor.fails': 'Do what the checks that fail say.',
  'provision.other-device': 'Take another directory, or remove the file if that device is to be forgotten.',
  'provision.unknown-device':
    'It was made at another Admin API: give that with --api, or remove the file to make a new device.',
  'provision.enrolled': 'Add --reset to let it enrol again with new keys; what it held must be granted to it anew.',
  'provision.revoked': 'Add --reset to let it enrol again with new keys; what it held must be granted to it anew.',
  'provision.conf-damaged': 'Remove it, and run the same command again.',
  'prove-split.no-database': 'Start the Admin API (its embedded database runs with it), or check DATABASE_URL.',
  'prove-split.failed': 'Take the installation out of use until it is known why.',
} as const satisfies Readonly<Record<string, string>>;

/** What to do next about a code; `undefined` where its exit status says enough. */
export function remedyFor(code: string): string | undefined {
  return Object.hasOwn(REMEDIES, code) ? REMEDIES[code as keyof typeof REMEDIES] : undefined;
}
