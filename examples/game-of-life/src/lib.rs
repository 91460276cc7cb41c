//! Conway's game of life as a library with state: the board survives the instance that it is in,
//! because the component exports checkpoint and restore.

use std::cell::RefCell;

use hypermesh_guest::lifecycle::Checkpoint;

hypermesh_guest::library!();

/// Most rows and columns.
const SIDE_MAX: usize = 256;

#[derive(Default, Clone, Debug, PartialEq)]
struct Board {
    rows: Vec<Vec<bool>>,
    generation: u64,
}

thread_local! {
    static BOARD: RefCell<Board> = RefCell::default();
}

struct Life;
export!(Life);
hypermesh_guest::checkpoint!(Life);

impl Guest for Life {
    fn set_board(rows: Vec<String>) -> Result<(), String> {
        let board = parse(&rows)?;
        BOARD.replace(board);
        Ok(())
    }

    fn step(count: u32) -> (Vec<String>, u64) {
        BOARD.with_borrow_mut(|board| {
            for _ in 0..count {
                *board = board.next();
            }
            (board.lines(), board.generation)
        })
    }
}

impl Checkpoint for Life {
    /// The generation in decimal, then the rows, each on a line.
    fn checkpoint() -> Result<Vec<u8>, String> {
        let text = BOARD.with_borrow(|board| {
            let lines: String = board
                .lines()
                .iter()
                .map(|line| format!("\n{line}"))
                .collect();
            format!("{}{lines}", board.generation)
        });
        Ok(text.into_bytes())
    }

    fn restore(state: Vec<u8>) -> Result<(), String> {
        let text = String::from_utf8(state).map_err(|error| error.to_string())?;
        let (generation, rows) = text.split_once('\n').unwrap_or((&text, ""));
        let rows: Vec<String> = rows.lines().map(str::to_owned).collect();
        let mut board = parse(&rows)?;
        board.generation = generation
            .parse()
            .map_err(|_| format!("`{generation}` is not the number of a generation"))?;
        BOARD.replace(board);
        Ok(())
    }
}

fn parse(rows: &[String]) -> Result<Board, String> {
    let width = rows.first().map_or(0, String::len);
    if rows.len() > SIDE_MAX || width > SIDE_MAX {
        return Err(format!("a board has at most {SIDE_MAX} rows and columns"));
    }
    if let Some(row) = rows.iter().find(|row| row.len() != width) {
        return Err(format!("the row `{row}` is not as long as the first"));
    }
    let cells = |row: &String| row.bytes().map(|cell| cell == b'#').collect();
    Ok(Board {
        rows: rows.iter().map(cells).collect(),
        generation: 0,
    })
}

impl Board {
    fn next(&self) -> Self {
        let row = |y| (0..self.width()).map(|x| self.lives_on(x, y)).collect();
        Self {
            rows: (0..self.rows.len()).map(row).collect(),
            generation: self.generation + 1,
        }
    }

    fn width(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    /// Three neighbours bring a cell to life, two keep it alive.
    fn lives_on(&self, x: usize, y: usize) -> bool {
        let (width, height) = (self.width(), self.rows.len());
        let mut neighbours = 0;
        for row in [y + height - 1, y, y + 1] {
            for column in [x + width - 1, x, x + 1] {
                if self.rows[row % height][column % width] {
                    neighbours += 1;
                }
            }
        }
        let alive = self.rows[y][x];
        neighbours - i32::from(alive) == 3 || alive && neighbours - 1 == 2
    }

    fn lines(&self) -> Vec<String> {
        let cell = |alive: &bool| if *alive { '#' } else { '.' };
        self.rows
            .iter()
            .map(|row| row.iter().map(cell).collect())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn a_blinker_blinks() {
        Life::set_board(rows("...../..#../..#../..#../.....")).unwrap();
        assert_eq!(Life::step(1), (rows("...../...../.###./...../....."), 1));
        assert_eq!(Life::step(1).0, rows("...../..#../..#../..#../....."));
    }

    #[test]
    fn a_restored_board_goes_on_where_it_was() {
        Life::set_board(rows("...../..#../..#../..#../.....")).unwrap();
        Life::step(3);
        let state = Life::checkpoint().unwrap();
        let expected = Life::step(2);
        Life::set_board(Vec::new()).unwrap();
        Life::restore(state).unwrap();
        assert_eq!(Life::step(2), expected);
        assert_eq!(expected.1, 5);
    }

    #[test]
    fn broken_state_is_refused() {
        assert!(Life::restore(b"x\n..".to_vec()).is_err());
        assert!(Life::set_board(rows("../.")).is_err());
    }
}
