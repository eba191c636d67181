/** The members of an answer class, for handlers that return a plain object of its shape. */
export type Plain<Answer> = { readonly [Member in keyof Answer]: Answer[Member] };
