"""The loop over pieces that are run once, as LLVM IR: no argument block of them is kept.

A piece has a number, by which tables say what its argument block is like (`engine.once` has them):
words that are copied, patches (a word, and the operand whose address is put there), and stages (a
function, the word at which its block begins, items). The operands of a piece are a row of cells:
places, by which addresses are listed. -1 instead of an operand is shared memory, smaller numbers
are the bytes from -2 down in the memory that a piece leaves to its next stage.

`<pieces.slot>` stands for the address of a slot; `codegen.executor` replaces it.
"""

from __future__ import annotations

SLOTS = (
    "count numbers first cells addresses counts starts words patches stages "
    "block scratch shared inside"
)

PIECES = """
define i64 @talweg_pieces(ptr %pieces) {
entry:
  %count = load i64, <pieces.count>
  %numbers = load ptr, <pieces.numbers>
  %first = load ptr, <pieces.first>
  %cells = load ptr, <pieces.cells>
  %addresses = load ptr, <pieces.addresses>
  %counts = load ptr, <pieces.counts>
  %starts = load ptr, <pieces.starts>
  %words = load ptr, <pieces.words>
  %patches = load ptr, <pieces.patches>
  %stages = load ptr, <pieces.stages>
  %block = load ptr, <pieces.block>
  %scratch = load ptr, <pieces.scratch>
  %shared = load i64, <pieces.shared>
  %inside = load i64, <pieces.inside>
  br label %test
test:
  %n = phi i64 [ 0, %entry ], [ %n.1, %ran ]
  %more = icmp ult i64 %n, %count
  br i1 %more, label %piece, label %done
piece:
  %number.p = getelementptr i64, ptr %numbers, i64 %n
  %number = load i64, ptr %number.p
  %first.p = getelementptr i64, ptr %first, i64 %n
  %cell = load i64, ptr %first.p
  %row = getelementptr i64, ptr %cells, i64 %cell
  %size.p = getelementptr [3 x i64], ptr %counts, i64 %number
  %size.p.1 = getelementptr i64, ptr %size.p, i64 1
  %size.p.2 = getelementptr i64, ptr %size.p, i64 2
  %size = load i64, ptr %size.p
  %patched = load i64, ptr %size.p.1
  %staged = load i64, ptr %size.p.2
  %start.p = getelementptr [3 x i64], ptr %starts, i64 %number
  %start.p.1 = getelementptr i64, ptr %start.p, i64 1
  %start.p.2 = getelementptr i64, ptr %start.p, i64 2
  %start = load i64, ptr %start.p
  %start.1 = load i64, ptr %start.p.1
  %start.2 = load i64, ptr %start.p.2
  %from = getelementptr i64, ptr %words, i64 %start
  %patch = getelementptr [2 x i64], ptr %patches, i64 %start.1
  %stage = getelementptr [3 x i64], ptr %stages, i64 %start.2
  br label %copy
copy:
  %w = phi i64 [ 0, %piece ], [ %w.1, %word ]
  %words.left = icmp ult i64 %w, %size
  br i1 %words.left, label %word, label %patches.test
word:
  %word.p = getelementptr i64, ptr %from, i64 %w
  %to.p = getelementptr i64, ptr %block, i64 %w
  %copied = load i64, ptr %word.p
  store i64 %copied, ptr %to.p
  %w.1 = add i64 %w, 1
  br label %copy
patches.test:
  %p = phi i64 [ 0, %copy ], [ %p.1, %put ]
  %patches.left = icmp ult i64 %p, %patched
  br i1 %patches.left, label %put.test, label %stages.test
put.test:
  %patch.p = getelementptr [2 x i64], ptr %patch, i64 %p
  %operand.p = getelementptr i64, ptr %patch.p, i64 1
  %slot = load i64, ptr %patch.p
  %operand = load i64, ptr %operand.p
  %other = icmp slt i64 %operand, 0
  br i1 %other, label %room, label %value
value:
  %place.p = getelementptr i64, ptr %row, i64 %operand
  %place = load i64, ptr %place.p
  %address.p = getelementptr i64, ptr %addresses, i64 %place
  %address.1 = load i64, ptr %address.p
  br label %put
room:
  %all = icmp eq i64 %operand, -1
  %offset = sub i64 -2, %operand
  %own = add i64 %inside, %offset
  %address.2 = select i1 %all, i64 %shared, i64 %own
  br label %put
put:
  %address = phi i64 [ %address.1, %value ], [ %address.2, %room ]
  %slot.p = getelementptr i64, ptr %block, i64 %slot
  store i64 %address, ptr %slot.p
  %p.1 = add i64 %p, 1
  br label %patches.test
stages.test:
  %s = phi i64 [ 0, %patches.test ], [ %s.1, %good ]
  %stages.left = icmp ult i64 %s, %staged
  br i1 %stages.left, label %run, label %ran
run:
  %stage.p = getelementptr [3 x i64], ptr %stage, i64 %s
  %stage.p.1 = getelementptr i64, ptr %stage.p, i64 1
  %stage.p.2 = getelementptr i64, ptr %stage.p, i64 2
  %function = load ptr, ptr %stage.p
  %begin = load i64, ptr %stage.p.1
  %items = load i64, ptr %stage.p.2
  %given = getelementptr i64, ptr %block, i64 %begin
  %code = call i32 %function(ptr %given, ptr %scratch, i64 0, i64 %items)
  %failed = icmp ne i32 %code, 0
  br i1 %failed, label %bad, label %good
good:
  %s.1 = add i64 %s, 1
  br label %stages.test
ran:
  %n.1 = add i64 %n, 1
  br label %test
bad:
  %found = add i64 %n, 1
  ret i64 %found
done:
  ret i64 0
}
"""
