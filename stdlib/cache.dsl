/// The paged cache. `Paged` is built into the language, and this module is where its name is imported from:
///
///     import std.cache { Paged }
///     state kv: Paged<bf16, 64>[B, T, C]
///
/// `Paged<A, P>[B, T, C]` holds B sequences of rows of C numbers in pages of P rows; T is the longest sequence
/// after the call's appends. It is kept as `pages: A[.., P, C]`, `table: i32[B, ..]` and `length: i32[B]`, and has
///
///     kv.append(x, count)   x: A[B, S, C], count: i32[B] = S; row s < count[b] becomes row length[b] + s
///     kv.read()             A[B, T, C], a view; 0 past a sequence's end
///     kv.visible(pos)       pos: i32[B, S]; bool[B, S, T]: t < length[b] and t <= pos[b, s]
///
/// `append` needs a function that takes the cache as `mut kv`.
