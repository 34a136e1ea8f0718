/** The file cannot be what a backup wrote: nothing of it is used. */
export class BackupDamaged extends Error {
  override readonly name = "BackupDamaged";

  constructor(problem: string) {
    super(`the backup is damaged or cut: ${problem}; take another one, nothing was restored`);
  }
}

/** The file was written by a release that this one does not know. */
export class BackupTooNew extends Error {
  override readonly name = "BackupTooNew";

  constructor(what: string) {
    super(`the backup was made by a newer release (${what}): restore it with that release or a later one`);
  }
}

/** The place holds something already. */
export class NotEmpty extends Error {
  override readonly name = "NotEmpty";
}
