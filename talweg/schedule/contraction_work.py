"""How the work of a contraction is cut up: numbers of its kernel, as expressions of arguments.

A *panel* is a tile's width of columns, a *tile* a tile's height of rows. An item takes some panels
and one tile, or several; the right operand of its panels stays in the second cache meanwhile.

A deep contraction is taken in *pieces* of the depth, so that the operands of a piece stay in the
cache. The sums of an item's tiles then wait in memory, and if the depth is *split* they wait in
memory that all threads share, until the last stage adds the sums of all splits.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, final

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.loops.nest import Block, Let
from talweg.loops.scalar import Argument, Numeric, Scalar, call, constant
from talweg.schedule.contraction import Axes, Contraction
from talweg.schedule.contraction_places import step, stored
from talweg.schedule.contraction_tiles import Tiles
from talweg.schedule.place import names_in
from talweg.schedule.target import Target

CACHED = 1 << 19  # bytes of the right operand that stay in the second cache while rows go by
HELD = 1 << 19  # bytes of sums that wait for the next piece
TURNED = 1 << 15  # bytes of sums that wait to be turned
PARTS = 16  # items that there should be at least, so that threads end at the same time
DEEP_PARTS = 8  # the same where every item goes through much memory
TICKET = 1 << 19  # floating operations that are worth a ticket
COPIED = 1 << 12  # elements of a packed copy that are
OWN = 1 << 17  # the same where an item copies them for itself and rows are few
DEPTH = 128  # elements of the depth that one item copies of a panel
ROWS = 8  # rows of the right operand that are copied by one item, for all panels

Table: TypeAlias = Literal["none", "shared", "rows", "each"]
Side: TypeAlias = Literal["row", "column", "depth"]
PREFIX = "work_"


@final
@frozen
class Tile:
    """The registers of a tile.

    Args:
        rows, vectors, lanes: its size.
        table: what the micro-kernel is told of every step of the outer depth: "none", as there is
            one step only; "shared": how far the left rows and the right operand move; "rows": how
            far the right operand moves, and the addresses of the left rows; "each": the same as
            "shared", for every element of the depth.
        step: how far from each other the elements of a left row are; 0 where it is not known.
        stride: the same of the rows of the right operand.
        matrix: whether the registers are matrices of 16 x 16 sums; steps of the outer depth then
            follow each other in copies of both operands, and are none for the micro-kernel.
    """

    rows: int
    vectors: int
    lanes: int
    table: Table
    step: int
    stride: int
    matrix: bool = False

    @property
    def padded(self) -> int:
        """The rows, as many as a vector has lanes."""
        return padded(self.rows)

    @property
    def columns(self) -> int:
        """The columns of a tile."""
        return self.vectors * self.lanes

    @property
    def entry(self) -> int:
        """The int64s of an entry of the table."""
        return {"none": 0, "shared": 2, "each": 2, "rows": 1 + self.padded}[self.table]


def padded(rows: int) -> int:
    """Return the number of lanes, a power of two and more than one, that rows are kept in."""
    return max(2, 1 << (rows - 1).bit_length())


def tile_of(contraction: Contraction, tiles: Tiles, target: Target) -> Tile:
    """Return the registers that a schedule means on a machine."""
    lanes = target.vector_bytes // contraction.dtype.itemsize
    one = len(contraction.depth) == 1 or contraction.in_matrices
    table: Table = "none" if one else "shared"
    if tiles.left == "taps":
        table = "rows"
    elif tiles.right in ("steps", "each"):
        table = "shared" if tiles.right == "steps" else "each"
    return Tile(
        tiles.rows,
        tiles.vectors,
        lanes,
        table,
        {"rows": 0, "taps": 1, "depth": 1, "columns": padded(tiles.rows)}[tiles.left],
        tiles.vectors * lanes if tiles.packed else 0,
        contraction.in_matrices,
    )


def is_turned(contraction: Contraction, tiles: Tiles) -> bool:
    """Return whether sums are turned, as results are neighbours along the rows."""
    if tiles.splits > 1 or len(contraction.rows) != 1:
        return False
    row, column = contraction.rows[-1].index, contraction.columns[-1].index
    places = stored(contraction.epilogue)
    return all(step(p, row) == 1 for p in places) and any(step(p, column) != 1 for p in places)


def _compared(c: Contraction) -> tuple[Side, Side] | None:
    sides: dict[str, Side] = {c.columns[-1].index: "column", c.depth[-1].index: "depth"}
    if len(c.rows) == 1:
        sides[c.rows[0].index] = "row"
    low, high = (sides.get(index) for index in c.within or ("", ""))
    return None if low is None or high is None else (low, high)


def part_met(c: Contraction, extents: tuple[int, int, int], rows: int, columns: int) -> float:
    """Return the part of all products that tiles multiply, about.

    Args:
        c: the contraction.
        extents: of rows, columns and depth.
        rows, columns: of a tile.
    """
    compared = _compared(c)
    if compared is None:
        return 1.0
    sizes = dict(zip(("row", "column", "depth"), extents, strict=True))
    width = max({"row": rows, "column": columns}.get(side, 1) for side in compared)
    return min(0.5 + width / (2 * max(min(sizes[side] for side in compared), 1)), 1.0)


@final
class Work:
    """The numbers of one kernel; each has a name, under which `lets` bind it.

    batch, rows, blocks, columns, steps, inner: the sizes of the groups: of the columns and of the
    depth the outer axes, and the last one. panels, tiles: how many there are. taken, high: panels
    and tiles of an item; parts, stacks: items along the panels and the tiles. piece_steps,
    piece_inner: the depth of a piece; pieces: how many; ahead: pieces of a split. apart: elements
    from one copied left row to the next, where registers are matrices.
    """

    def __init__(self, contraction: Contraction, tiles: Tiles, target: Target) -> None:
        self.contraction, self.tiles = contraction, tiles
        self.tile = tile_of(contraction, tiles, target)
        self.size = contraction.dtype.itemsize
        self.turned = is_turned(contraction, tiles)
        self._numbers: dict[str, Scalar] = {}
        self.extents: dict[str, Scalar] = {}
        self._sizes()
        self._cut()

    @property
    def stacked(self) -> bool:
        """Whether an item has several tiles of rows, whose sums wait in memory."""
        return self.tiles.deep or self.tiles.by_panel or self.turned

    @property
    def cut(self) -> tuple[Side, Side] | None:
        """Which two sides are compared to leave out products that are zeros; None for neither."""
        if self.tile.table != "none" or self.tiles.by_panel:
            return None
        return _compared(self.contraction)

    @property
    def by_rows(self) -> bool:
        """Whether the right operand is copied row by row for all panels."""
        return self.tiles.right == "columns" and len(self.contraction.columns) == 1

    @property
    def before(self) -> Block:
        """The Lets that the numbers need: the extents of axes."""
        return tuple(Let(name, value) for name, value in self.extents.items())

    @property
    def lets(self) -> Block:
        """The Lets of all numbers, which are natural."""
        return tuple(Let(PREFIX + name, value) for name, value in self._numbers.items())

    def __getitem__(self, name: str) -> Scalar:
        return Argument(PREFIX + name, dtypes.int64)

    def _set(self, name: str, value: Numeric) -> Scalar:
        self._numbers[name] = _whole(value)
        return self[name]

    def _product(self, axes: Axes) -> Scalar:
        """How many combinations of indices some axes have."""
        total: Scalar = _whole(1)
        for n, axis in enumerate(axes):
            name = f"{PREFIX}extent_{axis.index}"
            self.extents[name] = axis.extent
            size = most(Argument(name, dtypes.int64), 0)
            total = total * size if n else size
        return total

    def _sizes(self) -> None:
        c = self.contraction
        self._set("batch", self._product(c.batch))
        self._set("rows", self._product(c.rows))
        self._set("blocks", self._product(c.columns[:-1]))
        self._set("columns", self._product(c.columns[-1:]))
        self._set("steps", self._product(c.depth[:-1]))
        self._set("inner", self._product(c.depth[-1:]))
        self._set("along", over(self["columns"], self.tile.columns))
        self._set("panels", self["blocks"] * self["along"])
        self._set("tiles", over(self["rows"], self.tile.rows))
        moved = names_in(c.right)
        own = any(axis.index in moved for axis in c.batch)
        self.batched = own
        self._set("copies", self["batch"] if own else 1)

    def _cut(self) -> None:
        piece, splits, size = self.tiles.piece, self.tiles.splits, self.size
        stacked = self.stacked
        inner, steps = self["inner"], self["steps"]
        if piece:
            self._set("piece_inner", least(most(inner, 1), piece))
            self._set("piece_steps", self._whole_steps(piece))
            self._set("inner_pieces", most(over(inner, self["piece_inner"]), 1))
            outer = most(over(steps, self["piece_steps"]), 1)
            self._set("pieces", outer * self["inner_pieces"])
            self._set("ahead", over(self["pieces"], splits))
        else:
            self._set("piece_inner", inner)
            self._set("piece_steps", steps)
        self._set("piece", self["piece_inner"] * self["piece_steps"])
        if self.tile.matrix:  # odd lines, as rows would else meet in few cache sets
            lines = (over(self["piece"], self.tile.lanes) + 1) // 2 * 2 + 1
            self._set("apart", lines * self.tile.lanes)
        width = self.tile.columns * size
        cached = _whole(CACHED)
        if self.tiles.near:
            cached = least(most(self["rows"] * self["piece"] * (size // 2), OWN), CACHED)
        fits = most(cached // most(self["piece"] * width, 1), 1)
        apart = self.tiles.packed and not self.tiles.near  # rows may be shared out as well
        count = self["batch"] * self["panels"] * splits
        count = count * self["tiles"] if apart or not stacked else count
        even = most(count // (DEEP_PARTS if stacked else PARTS), 1)
        self._set("fits", least(fits, even) if self.tiles.packed else even)
        self._set("parts", most(over(self["panels"], self["fits"]), 1))
        self._set("taken", most(over(self["panels"], self["parts"]), 1))
        self._set("width", self["panels" if splits > 1 else "taken"] * self.tile.columns)
        if stacked:
            row = self["taken"] * (width * self.tile.rows)
            held = TURNED if self.turned and not self.tiles.deep else HELD
            fits = most(least(_whole(held) // row, self["tiles"]), 1)
            wanted = _whole(DEEP_PARTS) // most(self["batch"] * self["parts"] * splits, 1)
            wanted = least(wanted, self["tiles"])
            self._set("stacks", most(most(over(self["tiles"], fits), wanted), 1))
            self._set("high", most(over(self["tiles"], self["stacks"]), 1))
        else:
            self._set("high", 1)
            self._set("stacks", self["tiles"])

    def _whole_steps(self, piece: int) -> Scalar:
        """How many steps a piece has; of matrices, so many that no register ends early."""
        inner = self["piece_inner"]
        steps = most(_whole(piece) // inner, 1)
        if not self.tile.matrix:
            return steps
        steps = self._set("fitting", steps)
        unit = self._set("unit", least(inner % 4, 1) * 4 + inner % 2 * 8 + 4)  # divides 16
        even = self._set("even", steps // unit * unit)
        return even + (_whole(1) - least(even, 1)) * steps

    # -- what the runtime is told

    def scratch(self) -> dict[str, Scalar]:
        """Return the bytes that a thread needs, part by part."""
        tile, size, left = self.tile, self.size, self.tiles.left
        parts: dict[str, Numeric] = {
            "rows": tile.padded * 8,
            "state": tile.padded * 8 * len(self.contraction.rows),
        }
        if self.tiles.splits == 1:
            rows = self["high"] * tile.rows
            if self.turned:  # squares of registers are read
                rows = over(rows, tile.lanes) * tile.lanes
                parts["turned"] = rows * (tile.columns * size)
            parts["sums"] = rows * (self["width"] * size)
        if tile.table == "shared":
            parts["table"] = self["steps"] * (tile.entry * 8)
        elif tile.table == "rows":
            parts["table"] = self["piece_steps"] * (tile.entry * 8)
        elif tile.table == "each":
            parts["table"] = self["piece"] * (tile.entry * 8)
        if left == "taps":
            parts["zeros"] = self["inner"] * size
        elif left in ("depth", "columns"):
            height = tile.rows if left == "depth" else tile.padded
            deep = self["apart"] if tile.matrix else self["piece"]
            parts["left"] = deep * (height * size)
        if self.tiles.own:
            parts["right"] = self["taken"] * self["piece"] * (tile.columns * size)
        return {name: _whole(value) for name, value in parts.items()}

    def shared(self) -> dict[str, Scalar]:
        """Return the bytes that all threads need together, part by part."""
        parts: dict[str, Scalar] = {}
        width = self["panels"] * (self.tile.columns * self.size)
        if self.tiles.packed and not self.tiles.own:
            parts["right"] = self["copies"] * width * self["steps"] * self["inner"]
        if self.tiles.splits > 1:
            rows = self["batch"] * self["tiles"] * (self.tile.rows * self.tiles.splits)
            parts["sums"] = rows * width
        return parts

    def stages(self) -> list[tuple[Scalar, Scalar]]:
        """Return the items and the grain of every stage."""
        found: list[tuple[Scalar, Scalar]] = []
        tile = self.tile
        if "right" in self.shared():
            one = least(self["inner"], DEPTH) * tile.columns
            items = self["copies"] * self["panels"] * self["steps"] * over(self["inner"], DEPTH)
            if self.by_rows:
                one = self["panels"] * (tile.columns * ROWS)
                items = self["copies"] * self["steps"] * over(self["inner"], ROWS)
            found.append((items, over(_whole(COPIED), most(one, 1))))
        items = self["batch"] * self["parts"] * self["stacks"] * self.tiles.splits
        one = self["taken"] * self["high"] * (2 * tile.rows * tile.columns)
        one = one * self["steps"] * self["inner"] // self.tiles.splits
        found.append((items, over(_whole(TICKET), most(one, 1))))
        if self.tiles.splits > 1:
            added = self["panels"] * (tile.columns * tile.rows * self.tiles.splits)
            items = self["batch"] * self["tiles"]
            found.append((items, over(_whole(COPIED), most(added, 1))))
        return found


def _whole(value: Numeric) -> Scalar:
    return constant(value, dtypes.int64)


def most(a: Scalar, b: Numeric) -> Scalar:
    """Return the larger one."""
    return call("maximum", a, _whole(b))


def least(a: Scalar, b: Numeric) -> Scalar:
    """Return the smaller one."""
    return call("minimum", a, _whole(b))


def over(a: Scalar, b: Numeric) -> Scalar:
    """Return a / b rounded up, for a >= 0 and b > 0."""
    return (a + (_whole(b) - 1)) // b if isinstance(b, Scalar) else (a + (int(b.real) - 1)) // b
