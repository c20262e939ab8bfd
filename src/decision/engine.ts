/** What decided: recorded in every leaf, since replay needs the same engine (G6). Raise it with any change of outcome. */
export const ENGINE = "interlock/0.1.0";
