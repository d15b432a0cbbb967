//! stub
use bytes::BytesMut;
/// stub
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyHeader {
    /// stub
    Local,
}
impl ProxyHeader {
    /// stub
    /// # Errors
    /// stub
    pub fn read(_: &mut BytesMut) -> Result<Option<Self>, ()> {
        Ok(None)
    }
}
