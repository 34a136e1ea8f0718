/** In many programs, a member of this name changes the object instead of being in it. */
export const reservedName = "__proto__";

/** Why it is left out. */
export const reservedReason = "is a name that is not imported";
