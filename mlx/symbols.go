package mlx

import "strings"

// fn numbers a function of the C API: an index into symbolNames and into
// Library.fns, the addresses.
type fn int

const (
	fnSetErrorHandler fn = iota
	fnVersion
	fnStringNew
	fnStringData
	fnStringFree

	fnArrayFree
	fnArrayNewData
	fnArrayNdim
	fnArrayShape
	fnArrayDtype
	fnArraySize
	fnArrayNbytes
	fnArrayEval
	fnArrayDataUint8

	fnVectorArrayNewData
	fnVectorArrayFree
	fnVectorArraySize
	fnVectorArrayGet
	fnVectorArraySetData
	fnVectorStringNewData
	fnVectorStringFree

	fnDeviceNewType
	fnDeviceFree
	fnDeviceCount
	fnDeviceInfoNew
	fnDeviceInfoGet
	fnDeviceInfoFree
	fnDeviceInfoGetString
	fnDeviceInfoGetSize
	fnStreamNewDevice
	fnStreamFree
	fnSynchronize
	fnMetalIsAvailable
	fnCudaIsAvailable

	fnGetActiveMemory
	fnGetPeakMemory
	fnGetCacheMemory
	fnGetMemoryLimit
	fnResetPeakMemory
	fnSetMemoryLimit
	fnSetCacheLimit
	fnSetWiredLimit
	fnClearCache

	fnEval
	fnAsyncEval

	fnClosureNewFuncPayload
	fnClosureFree
	fnClosureApply
	fnCompile

	fnMapArrayNew
	fnMapArrayFree
	fnMapArrayInsert
	fnMapArrayIteratorNew
	fnMapArrayIteratorFree
	fnMapArrayIteratorNext
	fnMapStringNew
	fnMapStringFree
	fnMapStringInsert
	fnMapStringIteratorNew
	fnMapStringIteratorFree
	fnMapStringIteratorNext
	fnLoad
	fnSave
	fnLoadSafetensors
	fnSaveSafetensors

	fnReshape
	fnTransposeAxes
	fnTranspose
	fnSwapAxes
	fnMoveAxis
	fnExpandDims
	fnExpandDimsAxes
	fnSqueeze
	fnSqueezeAxes
	fnFlatten
	fnUnflatten
	fnBroadcastTo
	fnConcatenate
	fnStack
	fnSplit
	fnSplitSections
	fnRepeat
	fnTile
	fnRoll
	fnPad
	fnSlice
	fnSliceUpdate
	fnSliceDynamic
	fnSliceUpdateDynamic
	fnTake
	fnTakeAlongAxis
	fnPutAlongAxis
	fnScatter
	fnScatterAdd
	fnScatterAddAxis
	fnGather
	fnAsType
	fnView
	fnContiguous
	fnCopy
	fnZeros
	fnFull
	fnArange
	fnTri
	fnTril
	fnTriu

	fnAdd
	fnSubtract
	fnMultiply
	fnDivide
	fnMaximum
	fnMinimum
	fnPower
	fnRemainder
	fnFloorDivide
	fnLogAddExp
	fnEqual
	fnNotEqual
	fnGreater
	fnGreaterEqual
	fnLess
	fnLessEqual
	fnLogicalAnd
	fnLogicalOr
	fnBitwiseAnd
	fnBitwiseOr
	fnBitwiseXor
	fnLeftShift
	fnRightShift

	fnNegative
	fnAbs
	fnExp
	fnExpm1
	fnLog
	fnLog1p
	fnSigmoid
	fnTanh
	fnErf
	fnSqrt
	fnRsqrt
	fnSquare
	fnReciprocal
	fnSin
	fnCos
	fnFloor
	fnCeil
	fnSign
	fnLogicalNot
	fnIsNaN
	fnIsInf
	fnRound
	fnClip
	fnWhere

	fnSumAxes
	fnMaxAxes
	fnMinAxes
	fnMeanAxes
	fnProdAxes
	fnAllAxes
	fnAnyAxes
	fnLogSumExpAxes
	fnSum
	fnMax
	fnMin
	fnMean
	fnProd
	fnAll
	fnAny
	fnLogSumExp
	fnArgmaxAxis
	fnArgminAxis
	fnSoftmaxAxis
	fnCumsum
	fnCumsumAxis
	fnSort
	fnArgSort
	fnPartition
	fnArgPartition
	fnTopK

	fnMatmul
	fnAddMM
	fnGatherMM
	fnQuantize
	fnDequantize
	fnQuantizedMatmul
	fnGatherQMM
	fnRMSNorm
	fnLayerNorm
	fnRope
	fnRopeDynamic
	fnScaledDotProductAttention

	fnRandomKey
	fnRandomSplit
	fnRandomUniform
	fnRandomNormal
	fnRandomGumbel
	fnRandomCategorical

	fnCUDAKernelNew
	fnCUDAKernelFree
	fnCUDAKernelApply
	fnCUDAConfigNew
	fnCUDAConfigFree
	fnCUDAConfigAddOutput
	fnCUDAConfigSetGrid
	fnCUDAConfigSetThreadGroup
	fnCUDAConfigSetInitValue
	fnCUDAConfigAddDtype
	fnCUDAConfigAddInt
	fnCUDAConfigAddBool

	fnMetalKernelNew
	fnMetalKernelFree
	fnMetalKernelApply
	fnMetalConfigNew
	fnMetalConfigFree
	fnMetalConfigAddOutput
	fnMetalConfigSetGrid
	fnMetalConfigSetThreadGroup
	fnMetalConfigSetInitValue
	fnMetalConfigAddDtype
	fnMetalConfigAddInt
	fnMetalConfigAddBool

	fnCount
)

// optional functions may be missing: the binding then does without.
var optional = map[fn]bool{
	fnCumsumAxis: true, // since MLX 0.32, where fnCumsum lost its axis
}

var symbolNames = [fnCount]string{
	fnSetErrorHandler: "mlx_set_error_handler",
	fnVersion:         "mlx_version",
	fnStringNew:       "mlx_string_new",
	fnStringData:      "mlx_string_data",
	fnStringFree:      "mlx_string_free",

	fnArrayFree:      "mlx_array_free",
	fnArrayNewData:   "mlx_array_new_data",
	fnArrayNdim:      "mlx_array_ndim",
	fnArrayShape:     "mlx_array_shape",
	fnArrayDtype:     "mlx_array_dtype",
	fnArraySize:      "mlx_array_size",
	fnArrayNbytes:    "mlx_array_nbytes",
	fnArrayEval:      "mlx_array_eval",
	fnArrayDataUint8: "mlx_array_data_uint8",

	fnVectorArrayNewData:  "mlx_vector_array_new_data",
	fnVectorArrayFree:     "mlx_vector_array_free",
	fnVectorArraySize:     "mlx_vector_array_size",
	fnVectorArrayGet:      "mlx_vector_array_get",
	fnVectorArraySetData:  "mlx_vector_array_set_data",
	fnVectorStringNewData: "mlx_vector_string_new_data",
	fnVectorStringFree:    "mlx_vector_string_free",

	fnDeviceNewType:       "mlx_device_new_type",
	fnDeviceFree:          "mlx_device_free",
	fnDeviceCount:         "mlx_device_count",
	fnDeviceInfoNew:       "mlx_device_info_new",
	fnDeviceInfoGet:       "mlx_device_info_get",
	fnDeviceInfoFree:      "mlx_device_info_free",
	fnDeviceInfoGetString: "mlx_device_info_get_string",
	fnDeviceInfoGetSize:   "mlx_device_info_get_size",
	fnStreamNewDevice:     "mlx_stream_new_device",
	fnStreamFree:          "mlx_stream_free",
	fnSynchronize:         "mlx_synchronize",
	fnMetalIsAvailable:    "mlx_metal_is_available",
	fnCudaIsAvailable:     "mlx_cuda_is_available",

	fnGetActiveMemory: "mlx_get_active_memory",
	fnGetPeakMemory:   "mlx_get_peak_memory",
	fnGetCacheMemory:  "mlx_get_cache_memory",
	fnGetMemoryLimit:  "mlx_get_memory_limit",
	fnResetPeakMemory: "mlx_reset_peak_memory",
	fnSetMemoryLimit:  "mlx_set_memory_limit",
	fnSetCacheLimit:   "mlx_set_cache_limit",
	fnSetWiredLimit:   "mlx_set_wired_limit",
	fnClearCache:      "mlx_clear_cache",

	fnEval:      "mlx_eval",
	fnAsyncEval: "mlx_async_eval",

	fnClosureNewFuncPayload: "mlx_closure_new_func_payload",
	fnClosureFree:           "mlx_closure_free",
	fnClosureApply:          "mlx_closure_apply",
	fnCompile:               "mlx_compile",

	fnMapArrayNew:           "mlx_map_string_to_array_new",
	fnMapArrayFree:          "mlx_map_string_to_array_free",
	fnMapArrayInsert:        "mlx_map_string_to_array_insert",
	fnMapArrayIteratorNew:   "mlx_map_string_to_array_iterator_new",
	fnMapArrayIteratorFree:  "mlx_map_string_to_array_iterator_free",
	fnMapArrayIteratorNext:  "mlx_map_string_to_array_iterator_next",
	fnMapStringNew:          "mlx_map_string_to_string_new",
	fnMapStringFree:         "mlx_map_string_to_string_free",
	fnMapStringInsert:       "mlx_map_string_to_string_insert",
	fnMapStringIteratorNew:  "mlx_map_string_to_string_iterator_new",
	fnMapStringIteratorFree: "mlx_map_string_to_string_iterator_free",
	fnMapStringIteratorNext: "mlx_map_string_to_string_iterator_next",
	fnLoad:                  "mlx_load",
	fnSave:                  "mlx_save",
	fnLoadSafetensors:       "mlx_load_safetensors",
	fnSaveSafetensors:       "mlx_save_safetensors",

	fnReshape:            "mlx_reshape",
	fnTransposeAxes:      "mlx_transpose_axes",
	fnTranspose:          "mlx_transpose",
	fnSwapAxes:           "mlx_swapaxes",
	fnMoveAxis:           "mlx_moveaxis",
	fnExpandDims:         "mlx_expand_dims",
	fnExpandDimsAxes:     "mlx_expand_dims_axes",
	fnSqueeze:            "mlx_squeeze",
	fnSqueezeAxes:        "mlx_squeeze_axes",
	fnFlatten:            "mlx_flatten",
	fnUnflatten:          "mlx_unflatten",
	fnBroadcastTo:        "mlx_broadcast_to",
	fnConcatenate:        "mlx_concatenate_axis",
	fnStack:              "mlx_stack_axis",
	fnSplit:              "mlx_split",
	fnSplitSections:      "mlx_split_sections",
	fnRepeat:             "mlx_repeat_axis",
	fnTile:               "mlx_tile",
	fnRoll:               "mlx_roll_axis",
	fnPad:                "mlx_pad",
	fnSlice:              "mlx_slice",
	fnSliceUpdate:        "mlx_slice_update",
	fnSliceDynamic:       "mlx_slice_dynamic",
	fnSliceUpdateDynamic: "mlx_slice_update_dynamic",
	fnTake:               "mlx_take_axis",
	fnTakeAlongAxis:      "mlx_take_along_axis",
	fnPutAlongAxis:       "mlx_put_along_axis",
	fnScatter:            "mlx_scatter",
	fnScatterAdd:         "mlx_scatter_add",
	fnScatterAddAxis:     "mlx_scatter_add_axis",
	fnGather:             "mlx_gather",
	fnAsType:             "mlx_astype",
	fnView:               "mlx_view",
	fnContiguous:         "mlx_contiguous",
	fnCopy:               "mlx_copy",
	fnZeros:              "mlx_zeros",
	fnFull:               "mlx_full",
	fnArange:             "mlx_arange",
	fnTri:                "mlx_tri",
	fnTril:               "mlx_tril",
	fnTriu:               "mlx_triu",

	fnAdd:          "mlx_add",
	fnSubtract:     "mlx_subtract",
	fnMultiply:     "mlx_multiply",
	fnDivide:       "mlx_divide",
	fnMaximum:      "mlx_maximum",
	fnMinimum:      "mlx_minimum",
	fnPower:        "mlx_power",
	fnRemainder:    "mlx_remainder",
	fnFloorDivide:  "mlx_floor_divide",
	fnLogAddExp:    "mlx_logaddexp",
	fnEqual:        "mlx_equal",
	fnNotEqual:     "mlx_not_equal",
	fnGreater:      "mlx_greater",
	fnGreaterEqual: "mlx_greater_equal",
	fnLess:         "mlx_less",
	fnLessEqual:    "mlx_less_equal",
	fnLogicalAnd:   "mlx_logical_and",
	fnLogicalOr:    "mlx_logical_or",
	fnBitwiseAnd:   "mlx_bitwise_and",
	fnBitwiseOr:    "mlx_bitwise_or",
	fnBitwiseXor:   "mlx_bitwise_xor",
	fnLeftShift:    "mlx_left_shift",
	fnRightShift:   "mlx_right_shift",

	fnNegative:   "mlx_negative",
	fnAbs:        "mlx_abs",
	fnExp:        "mlx_exp",
	fnExpm1:      "mlx_expm1",
	fnLog:        "mlx_log",
	fnLog1p:      "mlx_log1p",
	fnSigmoid:    "mlx_sigmoid",
	fnTanh:       "mlx_tanh",
	fnErf:        "mlx_erf",
	fnSqrt:       "mlx_sqrt",
	fnRsqrt:      "mlx_rsqrt",
	fnSquare:     "mlx_square",
	fnReciprocal: "mlx_reciprocal",
	fnSin:        "mlx_sin",
	fnCos:        "mlx_cos",
	fnFloor:      "mlx_floor",
	fnCeil:       "mlx_ceil",
	fnSign:       "mlx_sign",
	fnLogicalNot: "mlx_logical_not",
	fnIsNaN:      "mlx_isnan",
	fnIsInf:      "mlx_isinf",
	fnRound:      "mlx_round",
	fnClip:       "mlx_clip",
	fnWhere:      "mlx_where",

	fnSumAxes:       "mlx_sum_axes",
	fnMaxAxes:       "mlx_max_axes",
	fnMinAxes:       "mlx_min_axes",
	fnMeanAxes:      "mlx_mean_axes",
	fnProdAxes:      "mlx_prod_axes",
	fnAllAxes:       "mlx_all_axes",
	fnAnyAxes:       "mlx_any_axes",
	fnLogSumExpAxes: "mlx_logsumexp_axes",
	fnSum:           "mlx_sum",
	fnMax:           "mlx_max",
	fnMin:           "mlx_min",
	fnMean:          "mlx_mean",
	fnProd:          "mlx_prod",
	fnAll:           "mlx_all",
	fnAny:           "mlx_any",
	fnLogSumExp:     "mlx_logsumexp",
	fnArgmaxAxis:    "mlx_argmax_axis",
	fnArgminAxis:    "mlx_argmin_axis",
	fnSoftmaxAxis:   "mlx_softmax_axis",
	fnCumsum:        "mlx_cumsum",
	fnCumsumAxis:    "mlx_cumsum_axis",
	fnSort:          "mlx_sort_axis",
	fnArgSort:       "mlx_argsort_axis",
	fnPartition:     "mlx_partition_axis",
	fnArgPartition:  "mlx_argpartition_axis",
	fnTopK:          "mlx_topk_axis",

	fnMatmul:                    "mlx_matmul",
	fnAddMM:                     "mlx_addmm",
	fnGatherMM:                  "mlx_gather_mm",
	fnQuantize:                  "mlx_quantize",
	fnDequantize:                "mlx_dequantize",
	fnQuantizedMatmul:           "mlx_quantized_matmul",
	fnGatherQMM:                 "mlx_gather_qmm",
	fnRMSNorm:                   "mlx_fast_rms_norm",
	fnLayerNorm:                 "mlx_fast_layer_norm",
	fnRope:                      "mlx_fast_rope",
	fnRopeDynamic:               "mlx_fast_rope_dynamic",
	fnScaledDotProductAttention: "mlx_fast_scaled_dot_product_attention",

	fnRandomKey:         "mlx_random_key",
	fnRandomSplit:       "mlx_random_split_num",
	fnRandomUniform:     "mlx_random_uniform",
	fnRandomNormal:      "mlx_random_normal",
	fnRandomGumbel:      "mlx_random_gumbel",
	fnRandomCategorical: "mlx_random_categorical",

	fnCUDAKernelNew:            "mlx_fast_cuda_kernel_new",
	fnCUDAKernelFree:           "mlx_fast_cuda_kernel_free",
	fnCUDAKernelApply:          "mlx_fast_cuda_kernel_apply",
	fnCUDAConfigNew:            "mlx_fast_cuda_kernel_config_new",
	fnCUDAConfigFree:           "mlx_fast_cuda_kernel_config_free",
	fnCUDAConfigAddOutput:      "mlx_fast_cuda_kernel_config_add_output_arg",
	fnCUDAConfigSetGrid:        "mlx_fast_cuda_kernel_config_set_grid",
	fnCUDAConfigSetThreadGroup: "mlx_fast_cuda_kernel_config_set_thread_group",
	fnCUDAConfigSetInitValue:   "mlx_fast_cuda_kernel_config_set_init_value",
	fnCUDAConfigAddDtype:       "mlx_fast_cuda_kernel_config_add_template_arg_dtype",
	fnCUDAConfigAddInt:         "mlx_fast_cuda_kernel_config_add_template_arg_int",
	fnCUDAConfigAddBool:        "mlx_fast_cuda_kernel_config_add_template_arg_bool",

	fnMetalKernelNew:            "mlx_fast_metal_kernel_new",
	fnMetalKernelFree:           "mlx_fast_metal_kernel_free",
	fnMetalKernelApply:          "mlx_fast_metal_kernel_apply",
	fnMetalConfigNew:            "mlx_fast_metal_kernel_config_new",
	fnMetalConfigFree:           "mlx_fast_metal_kernel_config_free",
	fnMetalConfigAddOutput:      "mlx_fast_metal_kernel_config_add_output_arg",
	fnMetalConfigSetGrid:        "mlx_fast_metal_kernel_config_set_grid",
	fnMetalConfigSetThreadGroup: "mlx_fast_metal_kernel_config_set_thread_group",
	fnMetalConfigSetInitValue:   "mlx_fast_metal_kernel_config_set_init_value",
	fnMetalConfigAddDtype:       "mlx_fast_metal_kernel_config_add_template_arg_dtype",
	fnMetalConfigAddInt:         "mlx_fast_metal_kernel_config_add_template_arg_int",
	fnMetalConfigAddBool:        "mlx_fast_metal_kernel_config_add_template_arg_bool",
}

// opName is a function's name as MLX's users know it: "mlx_fast_rms_norm" is
// "rms_norm", "mlx_sum_axes" is "sum".
func opName(f fn) string {
	name := strings.TrimPrefix(strings.TrimPrefix(symbolNames[f], "mlx_"), "fast_")
	for _, variant := range []string{"_axes", "_axis", "_dynamic", "_sections", "_num"} {
		if base, ok := strings.CutSuffix(name, variant); ok && f != fnTakeAlongAxis && f != fnPutAlongAxis && f != fnScatterAddAxis {
			return base
		}
	}
	return name
}
