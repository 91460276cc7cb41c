//! `wasi:blobstore`.

use std::io::{Read, Write};

use super::imports::wasi::blobstore::{blobstore, container, types};
use crate::blob::Error;

#[derive(Debug)]
pub(crate) struct Container(container::Container);

pub(crate) fn open(name: &str) -> Result<Container, Error> {
    let there = blobstore::container_exists(name).map_err(Error::Host)?;
    let container = if there {
        blobstore::get_container(name)
    } else {
        blobstore::create_container(name)
    };
    container.map(Container).map_err(Error::Host)
}

impl Container {
    pub(crate) fn read(&self, object: &str, first: u64, last: u64) -> Result<Box<dyn Read>, Error> {
        let value = self.0.get_data(object, first, last).map_err(Error::Host)?;
        let stream = types::IncomingValue::incoming_value_consume_async(value);
        Ok(Box::new(stream.map_err(Error::Host)?))
    }

    pub(crate) fn write(
        &self,
        object: &str,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let value = types::OutgoingValue::new_outgoing_value();
        let stream = value.outgoing_value_write_body();
        let mut stream =
            stream.map_err(|()| Error::Host("the host gave no stream to write to".to_owned()))?;
        self.0.write_data(object, &value).map_err(Error::Host)?;
        // Without `finish` the host takes the object for broken and does not keep it.
        fill(&mut stream)?;
        Write::flush(&mut stream).map_err(Error::Stream)?;
        drop(stream);
        types::OutgoingValue::finish(value).map_err(Error::Host)
    }

    pub(crate) fn size(&self, object: &str) -> Result<u64, Error> {
        let info = self.0.object_info(object).map_err(Error::Host)?;
        Ok(info.size)
    }

    pub(crate) fn exists(&self, object: &str) -> Result<bool, Error> {
        self.0.has_object(object).map_err(Error::Host)
    }

    pub(crate) fn list(&self) -> Result<Vec<String>, Error> {
        /// Names that one question asks for.
        const NAMES_PER_STEP: u64 = 256;
        let stream = self.0.list_objects().map_err(Error::Host)?;
        let mut names = Vec::new();
        loop {
            let step = stream.read_stream_object_names(NAMES_PER_STEP);
            let (more, ended) = step.map_err(Error::Host)?;
            if more.is_empty() {
                return Ok(names);
            }
            names.extend(more);
            if ended {
                return Ok(names);
            }
        }
    }

    pub(crate) fn delete(&self, object: &str) -> Result<(), Error> {
        self.0.delete_object(object).map_err(Error::Host)
    }
}
