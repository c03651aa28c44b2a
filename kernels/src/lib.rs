//! onnxruntime operators that use Int4 and Int8 weights as they lie in the file: no packing, no copy, one layout for
//! every processor, the instructions chosen at run time. docs/kernels.md explains layout and arithmetic.

pub mod activations;
pub mod attention;
pub mod embedding;
mod fetch;
mod half;
pub mod isa;
pub mod layout;
pub mod linear;
pub mod ort;
pub mod pages;

#[cfg(target_arch = "x86_64")]
pub mod amx;

#[cfg(test)]
mod random;

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort_sys::{OrtApi, OrtApiBase, OrtCustomOp, OrtCustomOpDomain, OrtSessionOptions, OrtStatusPtr};

use ort::custom_op;

const OPERATORS: [&OrtCustomOp; 5] = [
    custom_op::<linear::Linear>(),
    custom_op::<linear::Head>(),
    custom_op::<embedding::Embedding>(),
    custom_op::<attention::AttentionF16>(),
    custom_op::<attention::AttentionInt8>(),
];

/// Called by onnxruntime when the library is registered with a session's options.
///
/// # Safety
/// The arguments are onnxruntime's own.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn RegisterCustomOps(
    options: *mut OrtSessionOptions,
    base: *const OrtApiBase,
) -> OrtStatusPtr {
    // SAFETY: the base is valid; the interface it gives lives as long as the process.
    let api = unsafe { ((*base).GetApi)(ort::API_VERSION).as_ref() };
    let Some(api) = api else {
        // Without the interface not even a status can be made; a null status would mean success with no operator, and
        // the session then says that it doesn't know them.
        return OrtStatusPtr::default();
    };
    ort::set_api(api);
    ort::status(isa::chosen().and_then(|_| {
        let domain = domain(api)?;
        // SAFETY: the options are valid; the domain lives as long as the process, as sessions may.
        ort::check(unsafe { (api.AddCustomOpDomain)(options, domain) })
    }))
}

/// The domain of our operators: one for all sessions, since it can't be released before the last of them.
fn domain(api: &OrtApi) -> ort::Result<*mut OrtCustomOpDomain> {
    static DOMAIN: Mutex<Option<AtomicPtr<OrtCustomOpDomain>>> = Mutex::new(None);
    let mut made = DOMAIN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(domain) = &*made {
        return Ok(domain.load(Ordering::Relaxed));
    }
    let mut domain = ptr::null_mut();
    // SAFETY: the name is zero-terminated; the operators are static.
    unsafe {
        ort::check((api.CreateCustomOpDomain)(c"firebrick".as_ptr(), &mut domain))?;
        for operator in OPERATORS {
            ort::check((api.CustomOpDomain_Add)(domain, operator))?;
        }
    }
    *made = Some(AtomicPtr::new(domain));
    Ok(domain)
}

/// What this library would use here, as JSON; the text is static.
#[unsafe(no_mangle)]
pub extern "C" fn firebrick_describe() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    TEXT.get_or_init(|| CString::new(isa::describe()).expect("JSON holds no zero")).as_ptr()
}
