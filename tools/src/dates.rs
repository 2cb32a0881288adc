//! Computes with calendar dates, which models get wrong by a day or a month.
use std::io::{self, Read, Write};
use std::iter::Peekable;
use std::process::exit;
use std::str::Chars;

/// Moves of more than this leave the years that are known anyway.
const MOVE_MAX: i64 = 4_000_000;
const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// What is wrong, in words for the model, which can call again.
type Outcome<T> = Result<T, String>;

#[derive(Clone, Copy)]
struct Date {
    year: i64,
    /// From 1, as the day.
    month: i64,
    day: i64,
}

#[derive(Default)]
struct Input {
    date: Option<String>,
    until: Option<String>,
    years: i64,
    months: i64,
    weeks: i64,
    days: i64,
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 0000-03-01: with February last, a leap day ends the year (H. Hinnant, chrono-compatible algorithms).
fn day_number(date: Date) -> i64 {
    let year = date.year - i64::from(date.month <= 2);
    let month = (date.month + 9) % 12;
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + date.day - 1
}

fn date_of(number: i64) -> Outcome<Date> {
    let (era, of_era) = (number.div_euclid(146_097), number.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    known(Date {
        year: year + era * 400 + i64::from(month <= 2),
        month,
        day,
    })
}

fn known(date: Date) -> Outcome<Date> {
    if (1..=9_999).contains(&date.year) {
        return Ok(date);
    }
    Err(format!("the year {} is not between 1 and 9999", date.year))
}

/// From 0, Monday.
fn weekday(number: i64) -> i64 {
    (number + 2).rem_euclid(7)
}

/// Monday to Friday, from one day up to but without another.
fn working_days(from: i64, to: i64) -> i64 {
    if to < from {
        return -working_days(to, from);
    }
    let (weeks, rest) = ((to - from) / 7, (to - from) % 7);
    let working = (0..rest).filter(|ahead| weekday(from + ahead) < 5).count();
    weeks * 5 + working as i64
}

/// The week belongs to the year that has its Thursday.
fn iso_week(number: i64) -> Outcome<String> {
    let thursday = number - weekday(number) + 3;
    let year = date_of(thursday)?.year;
    let week = (thursday
        - day_number(Date {
            year,
            month: 1,
            day: 1,
        }))
        / 7
        + 1;
    Ok(format!("{:04}-W{:02}", year, week))
}

fn parse_date(text: &str) -> Outcome<Date> {
    let wrong = || format!("\"{}\" is not a date such as 2026-01-31", text);
    let parts: Vec<&str> = text.trim().split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let is_digits = text.trim().bytes().all(|c| c == b'-' || c.is_ascii_digit());
    if lengths != [4, 2, 2] || !is_digits {
        return Err(wrong());
    }
    let number = |at: usize| parts[at].parse::<i64>().map_err(|_| wrong());
    let date = known(Date {
        year: number(0)?,
        month: number(1)?,
        day: number(2)?,
    })?;
    let is_month = (1..=12).contains(&date.month);
    if !is_month || date.day < 1 || date.day > month_days(date.year, date.month) {
        return Err(format!("there is no {}", text.trim()));
    }
    Ok(date)
}

/// A JSON object of texts and numbers, which is all that the tool's schema lets pass.
struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        while self.chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_space();
        self.chars.next_if_eq(&wanted).is_some()
    }

    fn expect(&mut self, wanted: char) -> Outcome<()> {
        if self.take(wanted) {
            return Ok(());
        }
        Err(format!(
            "the input must be an object of texts and whole numbers; {} is missing",
            wanted
        ))
    }

    fn text(&mut self) -> Outcome<String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.chars.next().ok_or("the input ends within a text")? {
                '"' => return Ok(text),
                '\\' => text.push(self.escaped()?),
                plain => text.push(plain),
            }
        }
    }

    fn escaped(&mut self) -> Outcome<char> {
        let name = self.chars.next().unwrap_or('"');
        if name != 'u' {
            return Ok(name);
        }
        let digits: String = self.chars.by_ref().take(4).collect();
        let code = u32::from_str_radix(&digits, 16).map_err(|_| "the input has a wrong escape")?;
        // Nothing beyond 16 bits is part of a date.
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn whole(&mut self) -> Outcome<i64> {
        self.skip_space();
        let mut digits = String::new();
        while let Some(c) = self.chars.next_if(|c| "+-.eE0123456789".contains(*c)) {
            digits.push(c);
        }
        match digits.parse::<i64>() {
            Ok(number) if (-MOVE_MAX..=MOVE_MAX).contains(&number) => Ok(number),
            _ => Err(format!(
                "\"{}\" is not a whole number up to {}",
                digits, MOVE_MAX
            )),
        }
    }

    fn input(&mut self) -> Outcome<Input> {
        let mut input = Input::default();
        self.expect('{')?;
        if self.take('}') {
            return Ok(input);
        }
        loop {
            let name = self.text()?;
            self.expect(':')?;
            match name.as_str() {
                "date" => input.date = Some(self.text()?),
                "until" => input.until = Some(self.text()?),
                "add_years" => input.years = self.whole()?,
                "add_months" => input.months = self.whole()?,
                "add_weeks" => input.weeks = self.whole()?,
                "add_days" => input.days = self.whole()?,
                _ => return Err(format!("\"{}\" is not a parameter", name)),
            }
            if !self.take(',') {
                return self.expect('}').map(|()| input);
            }
        }
    }
}

/// Years and months first, to a day that exists; then weeks and days.
fn moved(date: Date, input: &Input) -> Outcome<i64> {
    let months = date.year * 12 + date.month - 1 + input.years * 12 + input.months;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    known(Date {
        year,
        month,
        day: 1,
    })?;
    let day = date.day.min(month_days(year, month));
    Ok(day_number(Date { year, month, day }) + input.weeks * 7 + input.days)
}

fn shown(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year, date.month, date.day)
}

fn answer(json: &str) -> Outcome<String> {
    let input = Reader {
        chars: json.chars().peekable(),
    }
    .input()?;
    let given = parse_date(input.date.as_deref().ok_or("give a \"date\"")?)?;
    let number = moved(given, &input)?;
    let date = date_of(number)?;
    let of_year = number
        - day_number(Date {
            month: 1,
            day: 1,
            ..date
        })
        + 1;
    let mut facts = format!(
        r#"{{"date":"{}","weekday":"{}","iso_week":"{}","day_of_year":{},"leap_year":{}"#,
        shown(date),
        WEEKDAYS[weekday(number) as usize],
        iso_week(number)?,
        of_year,
        is_leap(date.year),
    );
    if let Some(until) = &input.until {
        let end = day_number(parse_date(until)?);
        let working = working_days(number, end);
        facts += &format!(
            r#","days_until":{},"working_days_until":{}"#,
            end - number,
            working
        );
    }
    Ok(facts + "}")
}

fn main() {
    let mut json = String::new();
    let told = io::stdin()
        .read_to_string(&mut json)
        .map_err(|error| error.to_string())
        .and_then(|_| answer(&json));
    match told {
        Ok(text) => print!("{}", text),
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{}", problem);
            exit(1);
        }
    }
}
