const OTHERS = 0o077;
const OTHERS_BEYOND_THE_GROUP = 0o037;
const ROOT = 0;

/**
 * Whether somebody else may read or change an opened file with secrets. Its owner alone may; or, where root owns it, the group by which a service that is
 * not root could open it: Kubernetes mounts secrets so (mode 0440, `fsGroup`), and a service there cannot own them.
 *
 * @param ownUid - Of this process; `undefined` where there are no users.
 */
export function othersMayUse(
  { mode, uid }: { readonly mode: number; readonly uid: number },
  ownUid: number | undefined,
): boolean {
  const handedOver = uid === ROOT && ownUid !== ROOT;
  return (mode & (handedOver ? OTHERS_BEYOND_THE_GROUP : OTHERS)) !== 0;
}
