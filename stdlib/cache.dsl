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
/// Rows may have parts, each of a dtype of its own, and blocks of `n` numbers of a part may share a scale that
/// `append` finds: `Paged<e4m3 @ (128), bf16, 64>[B, T, C, D]` has
///
///     kv.append(x, y, count)   x: f32[B, S, C], y: bf16[B, S, D]
///     let (c, r) = kv.read()   c: e4m3[B, T, C] @ (128), r: bf16[B, T, D]
///
/// and is kept as `pages0`, `pages0.scale: f32[.., P, C / 128]`, `pages1`, `table` and `length`.
///
/// A slot that no row has is never used, whatever stands in it. An entry of the table that names no page is caught in
/// bounds mode (`weft run --bounds --device reference`), and in no mode read or written outside the pages.
///
/// `append` needs a function that takes the cache as `mut kv`.
