//! onnxruntime's C interface for custom operators, made safe: an operator is a type with a constructor and a `run`.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use ort_sys::{
    ONNXTensorElementDataType as ElementType, OrtApi, OrtCustomOp, OrtCustomOpInputOutputCharacteristic, OrtErrorCode,
    OrtKernelContext, OrtKernelInfo, OrtMemType, OrtStatusPtr, OrtTensorTypeAndShapeInfo, OrtValue,
};

/// The interface version that we ask for; onnxruntime 1.22 has it and every later one.
pub const API_VERSION: u32 = 22;

static API: OnceLock<&'static OrtApi> = OnceLock::new();

/// What went wrong, for the user of the model.
#[derive(Debug)]
pub struct Error(pub String);

/// A result whose error becomes an onnxruntime status.
pub type Result<T> = std::result::Result<T, Error>;

/// Fail with a formatted message.
#[macro_export]
macro_rules! fail {
    ($($part:tt)*) => { return Err($crate::ort::Error(format!($($part)*))) };
}

/// Keep the interface for the life of the process.
pub fn set_api(api: &'static OrtApi) {
    let _ = API.set(api); // a second registration brings the same one
}

fn api() -> &'static OrtApi {
    API.get().expect("operators are created after registration")
}

/// Turn a result into what onnxruntime wants: null, or a status that it frees.
pub fn status(result: Result<()>) -> OrtStatusPtr {
    match result {
        Ok(()) => OrtStatusPtr::default(),
        Err(Error(message)) => {
            let text = CString::new(message.replace('\0', " ")).expect("no zero is left");
            // SAFETY: the text is zero-terminated and copied by the callee.
            unsafe { (api().CreateStatus)(OrtErrorCode::ORT_INVALID_ARGUMENT, text.as_ptr()) }
        }
    }
}

/// Turn a status into a result, freeing it.
pub fn check(status: OrtStatusPtr) -> Result<()> {
    if status.0.is_null() {
        return Ok(());
    }
    // SAFETY: a status that isn't null is a valid one, its message is zero-terminated and lives until it is released.
    unsafe {
        let message = CStr::from_ptr((api().GetErrorMessage)(status.0)).to_string_lossy().into_owned();
        (api().ReleaseStatus)(status.0);
        Err(Error(message))
    }
}

/// Element types that our operators exchange.
pub trait Element: Copy + Send + Sync + 'static {
    /// What onnxruntime calls it.
    const TYPE: ElementType;
}

impl Element for f32 {
    const TYPE: ElementType = ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}
impl Element for i64 {
    const TYPE: ElementType = ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
}
impl Element for i32 {
    const TYPE: ElementType = ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
}
impl Element for u8 {
    const TYPE: ElementType = ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
}
impl Element for i8 {
    const TYPE: ElementType = ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
}

/// The bits of an IEEE half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct F16(pub u16);

impl Element for F16 {
    const TYPE: ElementType = ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
}

/// An input or output of an operator.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    element: ElementType,
    optional: bool,
}

impl Port {
    /// A port that is always connected.
    pub const fn required<T: Element>() -> Self {
        Self { element: T::TYPE, optional: false }
    }

    /// A port that may be left out.
    pub const fn optional<T: Element>() -> Self {
        Self { element: T::TYPE, optional: true }
    }
}

/// An operator: what onnxruntime asks about it, how a node of it is made, and what the node does.
///
/// A node is shared by concurrent runs, so it holds no scratch.
pub trait Operator: Send + Sync + Sized + 'static {
    /// In the graph.
    const NAME: &'static CStr;
    /// In the order of the node's inputs.
    const INPUTS: &'static [Port];
    /// In the order of the node's outputs.
    const OUTPUTS: &'static [Port];
    /// Check a node's attributes and constant inputs; runs when the session is created.
    fn new(info: &Info) -> Result<Self>;
    /// Compute.
    fn run(&self, context: &Context) -> Result<()>;
}

/// The table of an operator.
pub const fn custom_op<O: Operator>() -> &'static OrtCustomOp {
    const {
        &OrtCustomOp {
            version: API_VERSION,
            CreateKernel: None,
            GetName: Some(name::<O>),
            GetExecutionProviderType: Some(provider),
            GetInputType: Some(input_type::<O>),
            GetInputTypeCount: Some(input_count::<O>),
            GetOutputType: Some(output_type::<O>),
            GetOutputTypeCount: Some(output_count::<O>),
            KernelCompute: None,
            KernelDestroy: Some(destroy::<O>),
            GetInputCharacteristic: Some(input_characteristic::<O>),
            GetOutputCharacteristic: Some(output_characteristic::<O>),
            GetInputMemoryType: Some(memory_type),
            GetVariadicInputMinArity: Some(one),
            GetVariadicInputHomogeneity: Some(one),
            GetVariadicOutputMinArity: Some(one),
            GetVariadicOutputHomogeneity: Some(one),
            CreateKernelV2: Some(create::<O>),
            KernelComputeV2: Some(compute::<O>),
            InferOutputShapeFn: None,
            GetStartVersion: Some(one),
            GetEndVersion: Some(end_version),
            GetMayInplace: None,
            ReleaseMayInplace: None,
            GetAliasMap: None,
            ReleaseAliasMap: None,
        }
    }
}

unsafe extern "system" fn name<O: Operator>(_: *const OrtCustomOp) -> *const c_char {
    O::NAME.as_ptr()
}

unsafe extern "system" fn provider(_: *const OrtCustomOp) -> *const c_char {
    c"CPUExecutionProvider".as_ptr()
}

unsafe extern "system" fn input_type<O: Operator>(_: *const OrtCustomOp, index: usize) -> ElementType {
    O::INPUTS[index].element
}

unsafe extern "system" fn input_count<O: Operator>(_: *const OrtCustomOp) -> usize {
    O::INPUTS.len()
}

unsafe extern "system" fn output_type<O: Operator>(_: *const OrtCustomOp, index: usize) -> ElementType {
    O::OUTPUTS[index].element
}

unsafe extern "system" fn output_count<O: Operator>(_: *const OrtCustomOp) -> usize {
    O::OUTPUTS.len()
}

fn characteristic(port: Port) -> OrtCustomOpInputOutputCharacteristic {
    if port.optional {
        OrtCustomOpInputOutputCharacteristic::INPUT_OUTPUT_OPTIONAL
    } else {
        OrtCustomOpInputOutputCharacteristic::INPUT_OUTPUT_REQUIRED
    }
}

unsafe extern "system" fn input_characteristic<O: Operator>(
    _: *const OrtCustomOp,
    index: usize,
) -> OrtCustomOpInputOutputCharacteristic {
    characteristic(O::INPUTS[index])
}

unsafe extern "system" fn output_characteristic<O: Operator>(
    _: *const OrtCustomOp,
    index: usize,
) -> OrtCustomOpInputOutputCharacteristic {
    characteristic(O::OUTPUTS[index])
}

unsafe extern "system" fn memory_type(_: *const OrtCustomOp, _: usize) -> OrtMemType {
    OrtMemType::OrtMemTypeDefault
}

unsafe extern "system" fn one(_: *const OrtCustomOp) -> c_int {
    1
}

unsafe extern "system" fn end_version(_: *const OrtCustomOp) -> c_int {
    c_int::MAX
}

/// Run what may panic; a panic may not cross the C boundary.
fn guarded(operation: impl FnOnce() -> Result<()>) -> OrtStatusPtr {
    status(catch_unwind(AssertUnwindSafe(operation)).unwrap_or_else(|_| Err(Error("a kernel panicked".into()))))
}

unsafe extern "system" fn create<O: Operator>(
    _: *const OrtCustomOp,
    _: *const OrtApi,
    info: *const OrtKernelInfo,
    kernel: *mut *mut c_void,
) -> OrtStatusPtr {
    guarded(|| {
        let info = Info(info);
        let operator = O::new(&info).map_err(|error| Error(format!("{}: {}", info.node_name(), error.0)))?;
        // SAFETY: onnxruntime passes a place for the pointer.
        unsafe { *kernel = Box::into_raw(Box::new(operator)).cast() };
        Ok(())
    })
}

unsafe extern "system" fn compute<O: Operator>(kernel: *mut c_void, context: *mut OrtKernelContext) -> OrtStatusPtr {
    // SAFETY: `create` made the pointer, `destroy` has not run, and runs share it immutably.
    let operator = unsafe { &*kernel.cast_const().cast::<O>() };
    guarded(|| operator.run(&Context(context)))
}

unsafe extern "system" fn destroy<O: Operator>(kernel: *mut c_void) {
    // SAFETY: `create` made the pointer and onnxruntime destroys it once.
    drop(unsafe { Box::from_raw(kernel.cast::<O>()) });
}

/// A node, when its session is created.
pub struct Info(*const OrtKernelInfo);

impl Info {
    /// An integer attribute.
    pub fn int(&self, name: &CStr) -> Result<i64> {
        let mut value = 0;
        // SAFETY: the name is zero-terminated and the result has a place.
        check(unsafe { (api().KernelInfoGetAttribute_int64)(self.0, name.as_ptr(), &mut value) })?;
        Ok(value)
    }

    /// An integer attribute that may be left out.
    pub fn int_or(&self, name: &CStr, default: i64) -> i64 {
        let mut value = 0;
        // SAFETY: the name is zero-terminated and the result has a place.
        let status = unsafe { (api().KernelInfoGetAttribute_int64)(self.0, name.as_ptr(), &mut value) };
        if check(status).is_ok() { value } else { default }
    }

    /// An integer attribute from `least` to `most`.
    pub fn size(&self, name: &CStr, least: usize, most: usize) -> Result<usize> {
        let value = self.int(name)?;
        match usize::try_from(value) {
            Ok(size) if (least..=most).contains(&size) => Ok(size),
            _ => fail!("attribute {} is {value}, not from {least} to {most}", name.to_string_lossy()),
        }
    }

    /// A float attribute.
    pub fn float(&self, name: &CStr) -> Result<f32> {
        let mut value = 0.0;
        // SAFETY: the name is zero-terminated and the result has a place.
        check(unsafe { (api().KernelInfoGetAttribute_float)(self.0, name.as_ptr(), &mut value) })?;
        Ok(value)
    }

    /// An input that is an initializer; it lives as long as the session.
    pub fn constant(&self, index: usize) -> Result<Option<Tensor<'static>>> {
        let mut constant: c_int = 0;
        let mut value: *const OrtValue = ptr::null();
        // SAFETY: both results have places.
        check(unsafe { (api().KernelInfoGetConstantInput_tensor)(self.0, index, &mut constant, &mut value) })?;
        if constant == 0 || value.is_null() {
            return Ok(None);
        }
        // SAFETY: a constant's value and data outlive every kernel of its session.
        Ok(Some(unsafe { Tensor::new(value) }?))
    }

    fn node_name(&self) -> String {
        let mut buffer = [0; 256];
        let mut size = buffer.len();
        // SAFETY: the buffer has the size that is given; a longer name is an error that is freed.
        match check(unsafe { (api().KernelInfo_GetNodeName)(self.0, buffer.as_mut_ptr(), &mut size) }) {
            // SAFETY: onnxruntime terminates what it writes.
            Ok(()) => unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned(),
            Err(_) => "a node".into(),
        }
    }
}

/// A tensor that somebody else owns.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    /// Sizes of its axes.
    pub shape: Vec<usize>,
    element: ElementType,
    data: *const c_void,
    owner: std::marker::PhantomData<&'a ()>,
}

impl<'a> Tensor<'a> {
    /// # Safety
    /// The value must be a tensor and live for `'a`.
    unsafe fn new(value: *const OrtValue) -> Result<Self> {
        let mut info: *mut OrtTensorTypeAndShapeInfo = ptr::null_mut();
        let mut element = ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        let mut count = 0;
        let mut data = ptr::null_mut();
        // SAFETY: every result has a place; the info is released below whatever happens.
        unsafe {
            check((api().GetTensorTypeAndShape)(value, &mut info))?;
            let sizes = check((api().GetTensorElementType)(info, &mut element))
                .and_then(|()| check((api().GetDimensionsCount)(info, &mut count)))
                .and_then(|()| {
                    let mut sizes = vec![0; count];
                    check((api().GetDimensions)(info, sizes.as_mut_ptr(), count))?;
                    Ok(sizes)
                });
            (api().ReleaseTensorTypeAndShapeInfo)(info);
            check((api().GetTensorMutableData)(value.cast_mut(), &mut data))?;
            let shape = sizes?.into_iter().map(|size| usize::try_from(size).unwrap_or(0)).collect();
            Ok(Self { shape, element, data, owner: std::marker::PhantomData })
        }
    }

    /// Its elements; nobody may write them for `'a`.
    pub fn slice<T: Element>(&self) -> Result<&'a [T]> {
        let count = self.shape.iter().product();
        let data = self.pointer()?;
        if count == 0 {
            return Ok(&[]);
        }
        // SAFETY: onnxruntime gives `count` elements of this type, alive for 'a and not written while we run.
        Ok(unsafe { std::slice::from_raw_parts(data, count) })
    }

    /// Where its elements are, for memory that is written while we run.
    pub fn pointer<T: Element>(&self) -> Result<*const T> {
        if self.element != T::TYPE {
            fail!("a tensor has elements of type {:?} instead of {:?}", self.element, T::TYPE);
        }
        if !self.data.cast::<T>().is_aligned() {
            fail!("a tensor isn't aligned to its elements");
        }
        Ok(self.data.cast())
    }

    /// Where its elements start.
    pub fn address(&self) -> *const c_void {
        self.data
    }

    /// The product of all axes but the last.
    pub fn rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }

    /// The last axis.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }
}

/// A run of a node.
pub struct Context(*mut OrtKernelContext);

// SAFETY: only `parallel_for` shares it between threads, and tasks don't use it.
unsafe impl Sync for Context {}

impl Context {
    /// An input, if it is connected.
    pub fn optional_input(&self, index: usize) -> Result<Option<Tensor<'_>>> {
        let mut value: *const OrtValue = ptr::null();
        let mut count = 0;
        // SAFETY: the results have places.
        unsafe {
            check((api().KernelContext_GetInputCount)(self.0, &mut count))?;
            if index >= count {
                return Ok(None);
            }
            check((api().KernelContext_GetInput)(self.0, index, &mut value))?;
        }
        if value.is_null() {
            return Ok(None);
        }
        // SAFETY: inputs live as long as the run.
        Ok(Some(unsafe { Tensor::new(value) }?))
    }

    /// An input that must be there.
    pub fn input(&self, index: usize) -> Result<Tensor<'_>> {
        match self.optional_input(index)? {
            Some(tensor) => Ok(tensor),
            None => fail!("input {index} is missing"),
        }
    }

    /// Allocate an output, or take the one that the caller bound; each index once a run.
    #[allow(clippy::mut_from_ref)] // every output is memory of its own
    pub fn output<T: Element>(&self, index: usize, shape: &[usize]) -> Result<&mut [T]> {
        let data = self.output_pointer(index, shape)?;
        let count = shape.iter().product();
        if count == 0 {
            return Ok(&mut []);
        }
        // SAFETY: onnxruntime allocated `count` elements of the type that we declared; nobody else has them.
        Ok(unsafe { std::slice::from_raw_parts_mut(data, count) })
    }

    /// The same for memory that an input may share.
    pub fn output_pointer<T: Element>(&self, index: usize, shape: &[usize]) -> Result<*mut T> {
        let sizes: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
        let mut value: *mut OrtValue = ptr::null_mut();
        let mut data = ptr::null_mut();
        // SAFETY: the shape has the length that is given and the results have places.
        unsafe {
            check((api().KernelContext_GetOutput)(self.0, index, sizes.as_ptr(), sizes.len(), &mut value))?;
            if value.is_null() {
                fail!("output {index} isn't connected");
            }
            check((api().GetTensorMutableData)(value, &mut data))?;
        }
        if !data.cast::<T>().is_aligned() {
            fail!("output {index} isn't aligned to its elements");
        }
        Ok(data.cast())
    }

    /// Run `task(0) … task(count - 1)` on the session's threads, the calling one among them.
    pub fn parallel_for<F: Fn(usize) + Sync>(&self, count: usize, task: F) -> Result<()> {
        if count <= 1 {
            (0..count).for_each(task);
            return Ok(());
        }
        struct Shared<F> {
            task: F,
            panicked: AtomicBool,
        }
        unsafe extern "C" fn call<F: Fn(usize) + Sync>(shared: *mut c_void, index: usize) {
            // SAFETY: the pointer is that of `shared` below, which outlives the loop.
            let shared = unsafe { &*shared.cast_const().cast::<Shared<F>>() };
            if catch_unwind(AssertUnwindSafe(|| (shared.task)(index))).is_err() {
                shared.panicked.store(true, Ordering::Relaxed);
            }
        }
        let mut shared = Shared { task, panicked: AtomicBool::new(false) };
        let data = (&raw mut shared).cast();
        // SAFETY: onnxruntime returns when all tasks are done.
        check(unsafe { (api().KernelContext_ParallelFor)(self.0, call::<F>, count, 0, data) })?;
        if shared.panicked.load(Ordering::Relaxed) {
            fail!("a kernel panicked");
        }
        Ok(())
    }
}
