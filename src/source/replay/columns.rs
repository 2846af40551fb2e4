//! Finds the columns of a table that contain the fields of a tweet, by common names or as the caller names
//! them.

use crate::error::{Error, Result};

/// The fields of a tweet, and the common names of their columns. Case, spaces and punctuation make no
/// difference. If several columns match, the first name in this list wins.
const NAMES: [(Field, &[&str]); 6] = [
    (
        Field::Text,
        &[
            "text",
            "fulltext",
            "tweet",
            "tweettext",
            "tweetcontent",
            "content",
            "rawcontent",
            "renderedcontent",
            "body",
            "message",
            "post",
            "posttext",
            "sentence",
            "review",
            "comment",
            "status",
        ],
    ),
    (
        Field::Id,
        &["id", "idstr", "tweetid", "statusid", "postid", "ids"],
    ),
    (
        Field::User,
        &[
            "user",
            "username",
            "screenname",
            "userscreenname",
            "userusername",
            "author",
            "authorusername",
            "authorname",
            "handle",
            "userhandle",
            "twitterhandle",
            "account",
            "accountname",
            "writer",
            "name",
        ],
    ),
    (
        Field::Followers,
        &[
            "followers",
            "followerscount",
            "followercount",
            "userfollowers",
            "userfollowerscount",
            "authorfollowers",
            "authorfollowerscount",
            "authorpublicmetricsfollowerscount",
            "numfollowers",
            "nfollowers",
        ],
    ),
    (
        Field::Time,
        &[
            "createdat",
            "time",
            "timestamp",
            "datetime",
            "date",
            "datum",
            "created",
            "posted",
            "postedat",
            "postdate",
            "tweetcreated",
            "tweetcreatedat",
            "tweetdate",
            "tweettime",
            "publishedat",
            "timestampms",
            "createdutc",
        ],
    ),
    (Field::Lang, &["lang", "language", "tweetlang"]),
];

/// The columns that only this project's export of scored tweets has.
const EXPORT: [&str; 2] = ["compound", "metric"];

/// A field of a tweet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Text,
    Id,
    User,
    Followers,
    Time,
    Lang,
}

/// The columns that the caller has named, each as a name or as a number from 1 on.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Vec<(Field, String)>);

/// The positions of the columns in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) text: usize,
    pub(super) id: Option<usize>,
    pub(super) user: Option<usize>,
    pub(super) followers: Option<usize>,
    pub(super) time: Option<usize>,
    pub(super) lang: Option<usize>,
    /// The number of columns of the table.
    pub(super) count: usize,
    /// Whether the texts are escaped as in HTML.
    pub(super) is_escaped: bool,
    /// Whether the first row contains the names of the columns.
    pub(super) has_header: bool,
}

impl Names {
    /// Reads a list such as `text=Tweet,user=Author`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the list is empty, or if an
    /// entry is not a field, an equals sign and a name.
    pub(super) fn parse(list: &str) -> Result<Names> {
        let entries = list.split(',').map(|entry| {
            let (field, column) = entry.split_once('=')?;
            let field = match field.trim().to_ascii_lowercase().as_str() {
                "text" => Field::Text,
                "id" => Field::Id,
                "user" => Field::User,
                "followers" => Field::Followers,
                "created_at" | "time" => Field::Time,
                "lang" => Field::Lang,
                _ => return None,
            };
            let column = column.trim();
            (!column.is_empty()).then(|| (field, column.to_owned()))
        });
        let names: Option<Vec<(Field, String)>> = entries.collect();
        names.map(Names).ok_or_else(|| {
            Error::invalid_argument(
                format!("columns {list:?}"),
                "each entry is a field, an equals sign, and the name or the number of a column",
                "the fields are text, id, created_at, user, followers and lang: text=Tweet,user=Author",
            )
        })
    }

    /// Returns whether the caller has named no column.
    pub(super) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the columns of a table by its first row. Returns `None` if the table has no column of texts, or
    /// does not have a column that the caller has named.
    pub(super) fn find(&self, first: &[&str]) -> Option<Columns> {
        let header: Vec<String> = first.iter().map(|name| plain(name)).collect();
        let position = |name: &str| header.iter().position(|column| column == name);
        let mut columns = Columns {
            count: first.len(),
            is_escaped: !EXPORT.iter().all(|name| position(name).is_some()),
            has_header: self.0.is_empty(),
            ..Columns::default()
        };
        let mut has_text = false;
        for (field, names) in NAMES {
            let named = self.0.iter().find(|(named, _)| *named == field);
            let found = match named {
                None => {
                    let found = names.iter().find_map(|name| position(name));
                    columns.has_header |= found.is_some();
                    found
                }
                Some((_, name)) => {
                    let exact = first.iter().position(|column| column.trim() == name);
                    let plain = plain(name);
                    let by_name = exact.or_else(|| position(&plain).filter(|_| !plain.is_empty()));
                    columns.has_header |= by_name.is_some();
                    // A number is the position of a column, for a table without a header.
                    let by_number = || name.parse::<usize>().ok()?.checked_sub(1);
                    Some(by_name.or_else(by_number).filter(|at| *at < first.len())?)
                }
            };
            match field {
                Field::Text => {
                    has_text = found.is_some();
                    columns.text = found.unwrap_or_default();
                }
                Field::Id => columns.id = found,
                Field::User => columns.user = found,
                Field::Followers => columns.followers = found,
                Field::Time => columns.time = found,
                Field::Lang => columns.lang = found,
            }
        }
        has_text.then_some(columns)
    }
}

/// Returns a name without case, spaces and punctuation.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(names: &str, header: &str) -> Option<Columns> {
        let names = if names.is_empty() {
            Names::default()
        } else {
            Names::parse(names).unwrap()
        };
        names.find(&header.split(',').collect::<Vec<_>>())
    }

    #[test]
    fn common_names_are_found_in_any_case() {
        let columns = find(
            "",
            "When,TWEET,User Name,user_followers,Created At,Tweet ID",
        )
        .unwrap();
        let found = (
            columns.text,
            columns.user,
            columns.followers,
            columns.time,
            columns.id,
        );
        assert_eq!(found, (1, Some(2), Some(3), Some(4), Some(5)));
        assert!(columns.has_header && columns.is_escaped && columns.count == 6);
        // The first name in the list wins, and only a whole name matches.
        assert_eq!(find("", "tweet,text").unwrap().text, 1);
        assert_eq!(find("", "text,user_created").unwrap().time, None);
        assert_eq!(find("", "date,close,volume"), None);
    }

    #[test]
    fn the_caller_names_other_columns() {
        let columns = find("text=Kurztext, user=von", "text,Kurztext,Von").unwrap();
        assert_eq!((columns.text, columns.user), (1, Some(2)));
        assert_eq!(find("text=Missing", "text,user"), None);
        assert_eq!(find("user=Missing", "text,user"), None);
        let columns = find("text=2,time=1", "2021-01-05,I love it").unwrap();
        assert_eq!(
            (columns.text, columns.time, columns.has_header),
            (1, Some(0), false)
        );
        assert!(find("text=2", "time,text").unwrap().has_header);
        assert_eq!(find("text=3", "a,b"), None);
        assert_eq!(find("text=0", "a,b"), None);
    }

    #[test]
    fn a_malformed_list_is_rejected() {
        for list in ["", "text", "text=", "sound=a", "text=a,", "=a"] {
            let error = Names::parse(list).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument, "{list}");
        }
    }

    #[test]
    fn the_texts_of_an_export_are_not_escaped() {
        let export = find("", "time,author,followers,compound,metric,text").unwrap();
        let found = (export.time, export.user, export.followers, export.text);
        assert_eq!(found, (Some(0), Some(1), Some(2), 5));
        assert!(!export.is_escaped);
    }
}
